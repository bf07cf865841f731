// Package api is what an agent does for those who ask it: one interface, Service, which a service in
// this process and a client of a running agent both are, and the forms of what goes in and comes out.
//
// The forms are those that --json prints and that HTTP carries; members are added over time and never
// change their meaning. Errors have the codes and exit statuses of the command line (Problem), so that
// automation judges both alike.
//
// A surprise: a job goes on when whoever started it goes away. Watching is by cursor, and whoever comes
// back with one misses nothing that was recorded.
package api
