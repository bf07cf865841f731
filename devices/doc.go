// Package devices knows what drives a host has and what each one is: it lists every block
// device under a root directory with the reason when one cannot be chosen, and hands out
// exclusive handles that prove, before each use, that the drive is still the one that was meant.
//
// It decides nothing about sanitization and signs nothing.
//
// Two surprises. A root is "/" or a rack (a directory shaped like a host, see devices/virtual):
// the code is the same for both and only the function that opens a node differs. And whatever
// cannot be determined counts against a drive: an unreadable /proc makes drives blocked, not ready.
package devices
