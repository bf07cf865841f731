// Package agent moves jobs through their life on one host: it plans, runs, resumes and abandons
// them, keeps their files, and has what they prove signed.
//
// It decides nothing about techniques (sanitize does) and nothing about signatures (attest does).
// All it knows is in plain files below one state directory, which belongs to one host or one rack
// from its creation; any file can be read with any editor, and none is written twice except as a
// whole.
//
// Two surprises. A plan's job has a name derived from the plan's digest, and making its directory
// is what uses the plan up: running the same plan again finds the directory and goes on with, or
// only reports, what was begun. And an interrupted drive has no certificate yet: its intent stays
// open in the log until the job is resumed to an end or abandoned.
package agent
