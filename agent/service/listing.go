package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// listing is the latest look at a host, for those who only look.
type listing struct {
	host  *devices.Host
	lives *sync.WaitGroup // of looks that are under way
	now   func() time.Time
	// beside adds what is known beside the host.
	beside func(api.Drives) api.Drives

	mu    sync.Mutex // guards the rest
	last  *api.Drives
	fresh time.Time     // until when last is shown without another look
	look  chan struct{} // closed when the look that is under way has ended; nil when none is
	err   error         // of the latest look
}

// get returns the listing, at most a little older than it says.
func (l *listing) get(ctx context.Context) (api.Drives, error) {
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
	var patience <-chan time.Time
	if older != nil {
		patience = time.After(listingWaits)
	}
	select {
	case <-done:
	case <-patience:
		return *older, nil
	case <-ctx.Done():
		return api.Drives{}, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return api.Drives{}, l.err
	}
	return *l.last, nil
}

// take looks at the host.
func (l *listing) take() {
	ctx, done := context.WithTimeout(context.Background(), lookLongest)
	defer done()
	began := time.Now()
	told, err := l.at(ctx)
	if err == nil {
		told = l.beside(told)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err == nil {
		l.last, l.fresh = &told, began.Add(listingHolds)
	}
	close(l.look)
	l.look = nil
}

// at looks at the host now. With an error it has what could be seen.
func (l *listing) at(ctx context.Context) (api.Drives, error) {
	told := api.Drives{Items: []devices.Drive{}, NotReached: []devices.NotReached{}, AsOf: l.now().Format(time.RFC3339)}
	drives, err := l.host.Drives(ctx)
	if err != nil {
		return told, err
	}
	told.Items = append(told.Items, drives...)
	hidden, err := l.host.NotReached()
	told.NotReached = append(told.NotReached, hidden...)
	return told, err
}

// stale makes the next who asks look anew.
func (l *listing) stale() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = time.Time{}
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
