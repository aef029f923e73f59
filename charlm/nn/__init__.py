"""The mathematics: arrays in, arrays out; no files, no text, no printing.

Every cell takes a whole window, time-major, and has the same interface, described in cell.py:

    shapes                                      names and shapes of the parameters
    initialise(params, rng)                     fill them before training
    weights = prepare(params)                   their layout for the passes of one update
    state = zero_state(batch)                   the state at the start of a text
    outputs, state, tape = forward(weights, inputs, state)
    activations(tape)                           states and gates of that window, by name
    dinputs = backward(weights, tape, doutputs, grads)
    step = stepper(weights, batch)              one time step as a function

A state is an argument and a result: between two calls a cell keeps nothing but its buffers.
"""
