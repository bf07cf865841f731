// Package service is the agent of one host in one process, as everybody asks it: technicians' tools, fleet
// automation and tests. It keeps plans until they are started, judges who may do what, runs many jobs at
// once, lets any number of people watch, and survives restarts.
//
// The hard rules are in sanitize and agent, and nothing here switches them off: a service only tightens.
// What is allowed or refused here is recorded before it has an effect, and what cannot be recorded is not done, but for a halt. Requests
// that are malformed do not come here: the server refuses them, and has that recorded here (Service.Refused). A request that is repeated
// by its key gets its answer again from the server, and nothing is decided anew.
//
// A surprise: a job belongs to no connection. Whoever started it may go away, and a service that ends stops
// its jobs resumably; the next one goes on with them, unless somebody cancelled them.
package service
