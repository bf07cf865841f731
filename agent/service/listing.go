package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// How long a listing is shown before the host is looked at again, and how long that is waited for when there is an older one: a
// drive that does not answer holds the look up, and must not hold up those who only look. What is planned or started is looked at anew.
const (
	listingHolds = 2 * time.Second
	listingWaits = time.Second
	lookLongest  = time.Minute
)

// looked is the latest look at something, for those who only look.
type looked[T any] struct {
	at       func(context.Context) (T, error) // looks now
	lives    *sync.WaitGroup                  // of looks that are under way
	patience func(older bool) <-chan time.Time

	mu    sync.Mutex // guards the rest
	last  *T
	fresh time.Time     // until when last is shown without another look
	look  chan struct{} // closed when the look that is under way has ended; nil when none is
	err   error         // of the latest look
}

// get returns what was seen last, at most a little older than it says.
func (l *looked[T]) get(ctx context.Context) (seen T, err error) {
	l.mu.Lock()
	if l.last != nil && time.Now().Before(l.fresh) {
		defer l.mu.Unlock()
		return *l.last, nil
	}
	if l.look == nil {
		l.look = make(chan struct{})
		l.lives.Go(l.take)
	}
	done, older := l.look, l.last
	l.mu.Unlock()
	select {
	case <-done:
	case <-l.patience(older != nil):
		if older == nil {
			return seen, errNotLooked
		}
		return *older, nil
	case <-ctx.Done():
		return seen, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return seen, l.err
	}
	return *l.last, nil
}

// errNotLooked: nothing was seen yet, and it takes longer than it is waited for.
var errNotLooked = errors.New("it is still being looked at")

// take looks.
func (l *looked[T]) take() {
	ctx, done := context.WithTimeout(context.Background(), lookLongest)
	defer done()
	began := time.Now()
	told, err := l.at(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err == nil {
		l.last, l.fresh = &told, began.Add(listingHolds)
	}
	close(l.look)
	l.look = nil
}

// stale makes the next who asks look anew.
func (l *looked[T]) stale() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = time.Time{}
}

// lookAtHost looks at the host now. With an error it has what could be seen.
func (s *Service) lookAtHost(ctx context.Context) (api.Drives, error) {
	told := api.Drives{Items: []devices.Drive{}, NotReached: []devices.NotReached{}, AsOf: s.clock().Format(time.RFC3339)}
	drives, err := s.Host.Drives(ctx)
	if err != nil {
		return told, err
	}
	told.Items = append(told.Items, drives...)
	hidden, err := s.Host.NotReached()
	told.NotReached = append(told.NotReached, hidden...)
	return told, err
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
