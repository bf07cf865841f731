// Package virtual plays drives: a rack is a directory shaped like a host (sys, run, proc, dev,
// media), and its drives keep what no host can see, so that a test can look at the truth.
//
// It is what tests, the demo and a newcomer use in place of hardware; nothing above
// devices.Transport can tell the difference, and nothing above it is told.
//
// A drive has power from its adding on, also while nobody has it open: what it keeps only as long
// as it has power, a freeze or that it is unlocked, ends by PowerCycle and by faults that cut the
// power, not by closing its node.
//
// Two surprises. The volatile cache of a drive is in the memory of the process that has it open,
// so what lies in the rack directory is what a power cut would leave, at any moment. And a
// process that dies takes the cache along, which is harsher than a real drive that stays powered.
package virtual
