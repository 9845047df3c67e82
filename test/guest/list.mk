# Tiny guests: one folder each.
guests += exits hello
