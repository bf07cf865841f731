package agent

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/keystore"
)

func (a *Agent) keyRole() string {
	if a.Simulated() {
		return attest.RoleSimulation
	}
	return attest.RoleHost
}

// Key is the state's signing key.
func (a *Agent) Key() (*attest.Key, error) {
	is, err := a.issuer()
	return is.Key, err
}

// KeysDir is where the state's keys are, and the role of the one that signs.
func (a *Agent) KeysDir() (dir, role string) { return a.keys.Dir, a.keys.Role }

// InitKey makes the state's signing key before its first use would. The error is keystore.ErrKeyThere when there is one.
func (a *Agent) InitKey(o keystore.Options) (*attest.Key, error) {
	return keystore.Init(a.keys.Dir, a.keys.Role, o)
}

// OwnTrust trusts the keys of a state, as whoever has the state does. It proves nothing to others.
func OwnTrust(dir string) (attest.Trust, error) {
	files, err := filepath.Glob(filepath.Join(dir, keysDir, "*.pub"))
	if err != nil {
		return attest.Trust{}, err
	}
	var all []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return attest.Trust{}, err
		}
		all = append(all, data...)
	}
	if len(all) == 0 {
		return attest.Trust{}, nil
	}
	trust, err := attest.ParseTrust(all)
	trust.Self = true
	return trust, err
}

// RotateKey puts a new signing key in the place of the old one. The log goes on: the next run of the program is vouched
// for by the new key. It is refused while a job is being worked on, whose statements would go on under the old key.
func (a *Agent) RotateKey(o keystore.Options) (keystore.Rotated, error) {
	jobs, err := a.Jobs()
	if err != nil {
		return keystore.Rotated{}, err
	}
	for _, j := range jobs {
		if attended, err := a.Attended(j.ID); err != nil {
			return keystore.Rotated{}, err
		} else if attended {
			return keystore.Rotated{}, fmt.Errorf("rotate key: job %s: %w", j.ID, ErrJobBusy)
		}
	}
	return a.keys.Rotate(o)
}

// Log is the log's public keys and how many entries it has now.
func (a *Agent) Log() (attest.LogPublic, int64, error) {
	key, err := a.logKey()
	if err != nil {
		return attest.LogPublic{}, 0, err
	}
	size, err := attest.OpenLog(filepath.Join(a.dir, logDir), key, a.now).Size()
	return key.LogPublic, size, err
}
