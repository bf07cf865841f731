// Package server is an agent for those who are not in its process: an api.Service over HTTP, on a Unix socket and, with
// certificates on both sides, on TLS. There is no other way to listen.
//
// It decides nothing about drives. It says who asks, by the connection alone (agent/access); it refuses what is no request before
// the service hears of it; it makes acts safe to repeat (Idempotency-Key); and it keeps those who are slow, greedy or gone from
// harming others. docs/openapi.yaml is what it serves.
//
// A surprise: an act goes on when its connection breaks. Whoever comes back with the same key gets its answer.
package server
