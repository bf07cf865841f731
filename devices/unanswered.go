package devices

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// patience is how long a listing waits for one drive. The commands that ask what a drive is are
// answered in milliseconds, or seconds where a disk has to spin up; a kernel takes minutes to give a
// drive up that answers nothing.
const patience = 60 * time.Second

// unanswered remembers the drives that still owe an answer, by node. They are not asked again, and not
// waited for, until it has come: a drive that hangs holds up one listing and not every one.
type unanswered struct {
	patience time.Duration // 0 is the usual
	mu       sync.Mutex    // guards nodes
	nodes    map[string]bool
}

// ask lets ask fill in a copy of the drive, and takes it when it is there in time.
func (u *unanswered) ask(ctx context.Context, d *Drive, ask func(context.Context, *Drive)) {
	node, wait := d.Nodes[0], u.patience
	if wait == 0 {
		wait = patience
	}
	if !u.begin(node) {
		d.refuse(StateUnreadable, unansweredReason(0))
		return
	}
	told := make(chan Drive, 1)
	copied := d.clone()
	go func() {
		ask(ctx, &copied)
		u.end(node)
		told <- copied
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case *d = <-told:
	case <-timer.C:
		d.refuse(StateUnreadable, unansweredReason(wait))
	}
}

func unansweredReason(wait time.Duration) Reason {
	words := "it has not answered yet to what it was asked before"
	if wait > 0 {
		words = fmt.Sprintf("it does not answer: nothing came for %v", wait)
	}
	return Reason{"unanswered", words, "list again; pull and attach it again; a drive that does not answer cannot be sanitized by a host"}
}

func (u *unanswered) begin(node string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.nodes[node] {
		return false
	}
	if u.nodes == nil {
		u.nodes = map[string]bool{}
	}
	u.nodes[node] = true
	return true
}

func (u *unanswered) end(node string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.nodes, node)
}
