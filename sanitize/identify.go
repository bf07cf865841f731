package sanitize

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// identifiedRecord is what the drive says that it is, page by page.
type identifiedRecord struct {
	When  string         `json:"when"` // before or after
	Pages []devices.Page `json:"pages,omitempty"`
	Error string         `json:"error,omitempty"` // why there are not all of them
}

// identify keeps the drive's own pages about itself, for whoever wants to see more than the plan took from them. A
// drive that does not tell is not failed for that.
func (r *run) identify(ctx context.Context, when string) error {
	pages, err := r.handle.Pages(ctx)
	if errors.Is(err, devices.ErrNoDoor) {
		return nil
	}
	if devices.IsGone(err) {
		return err
	}
	return r.append(kindIdentified, identifiedRecord{when, pages, text(err)})
}

func (s *state) applyIdentified(r journal.Record) error {
	var d identifiedRecord
	if err := r.Decode(&d); err != nil {
		return err
	}
	if s.attempts == 0 || !slices.Contains([]string{"before", "after"}, d.When) {
		return fmt.Errorf("journal record %d identifies the drive outside an attempt, or at the unknown time %q", r.Seq, d.When)
	}
	return nil
}
