package blockio

// engine is what the queues of this package tell of themselves.
type engine interface {
	engine() string
	refused() error
}

// Engine names what carries a queue: "io_uring with fixed buffers", "io_uring", "linux-aio" or "pool"; "" is a
// queue of another package.
func Engine(q Queue) string {
	if e, ok := q.(engine); ok {
		return e.engine()
	}
	return ""
}

// Refused says which better engines a queue could not have, and why. It is nil when there is no better one, or
// none was asked for. It is no failure of the queue: something to log, and to name beside a measurement.
func Refused(q Queue) error {
	if e, ok := q.(engine); ok {
		return e.refused()
	}
	return nil
}
