kernel += boot/start.S
