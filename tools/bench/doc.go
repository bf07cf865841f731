// Bench compares expunge's write engine with fio, dd, shred, scrub and nwipe on this machine, and shows
// what it does with drives that are not here.
//
// The drives of the comparison are loop devices over files in memory, which it makes and removes itself;
// it opens no other, and the programs it starts see no other (cell.go). Every run of every program begins
// on drives that were marked, and counts only when the marks are gone after it. Programs take turns, in an
// order that moves on from round to round, and what is told is medians and their ratios.
//
// The drives of the simulated host exist in this process only: they have a rate and a latency and keep
// nothing, while the pattern that is written to them is really made.
//
// Three processes take part: the first makes the directory and clears up whatever becomes of the others; one
// has the loop devices; each simulated host has one, so that its memory and time are its own.
package main
