"""Numbers held in few bits: levels, blocks with one scale each, layers made of them."""
