// Package client is an agent in another process: an api.Service that asks it over a Unix socket, or over TLS with certificates on
// both sides.
//
// Errors are *api.Problem, as the agent told them, or made here for what it did not: an answer that is missing, cut off or of another
// form is an error, never a result. An agent that is not there is ErrNotRunning.
//
// A surprise: acts are repeated when a connection breaks, always with the same Idempotency-Key, so that they are done once. What has no
// key is a halt: to begin one is repeated as well, to end one is not, lest it end another's that began in between.
package client
