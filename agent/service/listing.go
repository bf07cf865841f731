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

// listingHolds is how old a listing may be that is shown. What is planned or started is looked at anew.
const listingHolds = 2 * time.Second

// listing is the latest look at a host, for those who only look.
type listing struct {
	host *devices.Host

	mu   sync.Mutex // held while the host is looked at, so that those who ask meanwhile share the look
	last api.Drives
	at   time.Time
}

func (l *listing) get(ctx context.Context) (api.Drives, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < listingHolds {
		return l.last, nil
	}
	drives, err := l.host.Drives(ctx)
	if err != nil {
		return api.Drives{}, err
	}
	hidden, err := l.host.NotReached()
	if err != nil {
		return api.Drives{}, err
	}
	if drives == nil {
		drives = []devices.Drive{}
	}
	if hidden == nil {
		hidden = []devices.NotReached{}
	}
	l.last, l.at = api.Drives{Items: drives, NotReached: hidden}, time.Now()
	return l.last, nil
}

// stale makes the next who asks look anew.
func (l *listing) stale() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
