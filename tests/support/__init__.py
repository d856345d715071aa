"""What the tests stand on. Nothing here uses the C code: signatures, events and captures are read and made independently."""
