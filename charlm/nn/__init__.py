"""The mathematics: arrays in, arrays out; no files, no text, no printing.

Every cell takes a whole window, time-major, and has the same four doors:

    weights = cell.prepare(params)                             once per update
    outputs, state, tape = cell.forward(weights, inputs, state)
    dinputs = cell.backward(weights, tape, doutputs, grads)
    state = cell.zero_state(batch)

State comes in through the door and leaves through the door; only buffers stay behind.
"""
