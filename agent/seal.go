package agent

import (
	"fmt"
	"path/filepath"

	"github.com/expunge-dev/expunge/attest"
)

// SignNote signs a text as a note of the state's log: the seal of a page.
func (a *Agent) SignNote(text string) ([]byte, error) {
	key, err := attest.LoadOrCreateLogKey(filepath.Join(a.dir, keysDir))
	if err != nil {
		return nil, fmt.Errorf("sign note: %w", err)
	}
	return key.SignNote(text)
}
