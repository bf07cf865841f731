package devices

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// LightError: a slot's light is not known to be as it was told to be. The kernel refused, or it took the word and
// shows another: for the enclosure class it does so also when the enclosure refused.
type LightError struct {
	Place string // as Enclosure.String
	On    bool
	Shows string // what the kernel shows after it took the word; "" when it did not take it
	Err   error  // why it did not take it, or why it cannot be asked
}

func (e *LightError) Error() string {
	word := map[bool]string{true: "on", false: "off"}[e.On]
	if e.Err != nil {
		return fmt.Sprintf("switch the light of %s %s: %v", e.Place, word, e.Err)
	}
	return fmt.Sprintf("switch the light of %s %s: it was told so, and shows %q", e.Place, word, e.Shows)
}

func (e *LightError) Unwrap() error { return e.Err }

// obeys is how long a light is given to show what it was told: some enclosures make a new status page only every second.
const obeys = 3 * time.Second

// Locate switches the light of the slot that the drive is in, on or off, so that a person finds it. It lists the host
// again and finds the drive by its identity, whatever its nodes are now. No node is opened for writing, and nothing is
// sent to the drive but what a listing asks.
//
// The errors are ErrNotFound and ErrAmbiguous, ErrNoEnclosure, ErrNoLight, *LightError, and ErrChanged: the drive is not
// in the slot that d names, and nothing was switched, or it left the slot meanwhile, whose light may then be on.
func (h *Host) Locate(ctx context.Context, d Drive, on bool) error {
	listed, err := h.Drives(ctx)
	if err != nil {
		return err
	}
	now, err := h.selectOne(listed, string(d.ID))
	if err != nil {
		return err
	}
	who := fmt.Sprintf("locate %s %s", now.Model, now.Serial)
	b, ok := h.fs.bayOf(now, h.fs.bays())
	if !ok {
		return fmt.Errorf("%s: %w", who, ErrNoEnclosure)
	}
	if was := d.Enclosure; was != nil && (was.String() != b.String() || was.ID != b.ID) {
		return fmt.Errorf("%s: it is in %s now, was in %s: %w", who, b, was, ErrChanged)
	}
	if err := h.fs.still(now); err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if err := b.shine(ctx, on); err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if after, ok := h.fs.bayOf(now, h.fs.bays()); !ok || after.dir != b.dir {
		return fmt.Errorf("%s: it is not in %s any more, whose light was switched: %w", who, b, ErrChanged)
	}
	if err := h.fs.still(now); err != nil {
		return fmt.Errorf("%s: the light of %s was switched, and %w", who, b, err)
	}
	return nil
}

// still makes sure that a drive's first node is the device that was listed: the kernel counts disks as they come.
func (s sysfs) still(d Drive) error {
	dir := s.path("sys/block", strings.ReplaceAll(strings.TrimPrefix(d.Nodes[0], "/dev/"), "/", "!"))
	if d.Number == (Number{}) {
		return nil // a controller without a block device
	}
	number, err := parseNumber(text(dir, "dev"))
	if err != nil || number != d.Number || uint64(integer(dir, "diskseq")) != d.Sequence {
		return fmt.Errorf("%s is another device now: %w", d.Nodes[0], ErrChanged)
	}
	return nil
}

// shine switches a light, and waits until the kernel shows that it obeyed.
func (b bay) shine(ctx context.Context, on bool) (err error) {
	failed := &LightError{Place: b.String(), On: on}
	word := b.light.off
	if on {
		word = b.light.on
	}
	// Not created where it is not there: a slot without a light has no such file.
	f, err := os.OpenFile(b.light.file, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", b, ErrNoLight)
	}
	if err == nil {
		_, err = f.WriteString(word + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		failed.Err = err
		return failed
	}
	for end := time.Now().Add(obeys); ; {
		data, err := os.ReadFile(b.light.file)
		if err != nil {
			failed.Err = err
			return failed
		}
		failed.Shows = strings.TrimSpace(string(data))
		if failed.Shows == word {
			return nil
		}
		if ctx.Err() != nil || !time.Now().Before(end) {
			return failed
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
