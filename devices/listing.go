package devices

import (
	"context"
	"slices"
	"sync"
)

// lookout makes one look at the host serve all who asked for one before it began. Sixty drives that
// are opened at once are looked for by a few looks and not by sixty, each of which asks all sixty.
type lookout[T any] struct {
	turn sync.Mutex // held while somebody looks
	mu   sync.Mutex // guards next
	next *look[T]   // not begun
}

// look is one look at the host. What it saw is everybody's, and changed by nobody.
type look[T any] struct {
	done chan struct{}
	saw  T
	err  error
}

// Drives lists every drive of the host, those that cannot be chosen with the reasons. Drives that
// have a command door are opened for reading and asked what they are. The error says that the list
// itself could not be made; it is never merely empty then. What it says was so after it was called.
func (h *Host) Drives(ctx context.Context) ([]Drive, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	l := h.lookout.join(func() ([]Drive, error) { return h.list(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.done:
	}
	if l.err != nil {
		return nil, l.err
	}
	drives := slices.Clone(l.saw)
	for i := range drives {
		drives[i] = drives[i].clone()
	}
	return drives, nil
}

// join is the look that begins next.
func (o *lookout[T]) join(see func() (T, error)) *look[T] {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next != nil {
		return o.next
	}
	l := &look[T]{done: make(chan struct{})}
	o.next = l
	go func() {
		o.turn.Lock()
		defer o.turn.Unlock()
		o.mu.Lock()
		o.next = nil
		o.mu.Unlock()
		l.saw, l.err = see()
		close(l.done)
	}()
	return l
}

// wait is join for those who wait until it is done.
func (o *lookout[T]) wait(see func() (T, error)) (T, error) {
	l := o.join(see)
	<-l.done
	return l.saw, l.err
}

// clone is a copy whose lists can be changed.
func (d Drive) clone() Drive {
	d.Nodes, d.Namespaces, d.Units, d.Hidden = slices.Clone(d.Nodes), slices.Clone(d.Namespaces), slices.Clone(d.Units), slices.Clone(d.Hidden)
	d.Reasons, d.Notes, d.Lacks = slices.Clone(d.Reasons), slices.Clone(d.Notes), slices.Clone(d.Lacks)
	return d
}
