# Tiny guests: one folder each.
guests += exits hello irq memory random resets smp stopped
