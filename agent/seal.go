package agent

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// SignNote signs a text as a note of the state's log: the seal of a page.
func (a *Agent) SignNote(text string) ([]byte, error) {
	key, err := a.logKey()
	if err != nil {
		return nil, fmt.Errorf("sign note: %w", err)
	}
	return key.SignNote(text)
}

// SignRegister signs what pins a register of certificates: its name, its hash and when that was, as a note of the state's log.
func (a *Agent) SignRegister(name string, sha256 [32]byte) ([]byte, error) {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return nil, fmt.Errorf("sign manifest of %q: its name has characters that cannot be seen", name)
	}
	return a.SignNote(fmt.Sprintf("expunge.register/v1\nfile %s\nsha256 %x\nsigned %s\n", name, sha256, a.now().Format(time.RFC3339)))
}
