// Package sanitize turns a request into a plan without touching a drive, carries the plan out so
// that any interruption can be resumed, and derives evidence from the journal alone.
//
// The way is one: Request → Choose → Plan → Execute → journal → Fold → Evidence. Nothing flows
// back, nothing is signed here, and no function makes Evidence from anything but a journal.
//
// Two surprises. A technique that would reach the asked method is never replaced by a weaker one:
// Choose refuses instead. And whatever the journal does not prove counts as not done: Fold has an
// outcome "unknown" and that is its default.
package sanitize
