package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/cmd/internal/verifying"
	"github.com/expunge-dev/expunge/internal/durable"
)

// The files of pinned trust.
const (
	trustDirName  = "trust"
	trustRootFile = "root.json" // all versions, from the one that was pinned to the newest
)

const trustHint = "a trust file holds public keys in PEM (expunge key show prints one) or a trust root with all its versions"

func (a *app) trustCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "trust", Short: "say whose certificates are believed: pin, update and show a trust root; keep one", Args: cobra.NoArgs,
		Long: "A trust root (root.json) says which keys a site's hosts have, from where to where in their logs, and which were revoked. Its\n" +
			"first version is pinned by its fingerprint, which an auditor gets by another way than the file; each later one is signed by\n" +
			"those before. What is pinned is used wherever no --trust or --key is given. It lies in trust/ of the state, or of\n" +
			"$XDG_CONFIG_HOME/expunge where there is no state.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var fingerprint string
	pin := &cobra.Command{
		Use: "pin FILE --sha256 FINGERPRINT", Short: "take a trust root, whose first version has this fingerprint", Args: cobra.ExactArgs(1),
		RunE: a.acts("trust-pin", func(_ context.Context, args []string) (answer, error) { return a.trustPin(args[0], fingerprint) }),
	}
	pin.Flags().StringVar(&fingerprint, "sha256", "", "the `FINGERPRINT` that you were given by another way than the file")
	c.AddCommand(pin,
		&cobra.Command{
			Use: "update FILE", Short: "take newer versions of the pinned trust root", Args: cobra.ExactArgs(1),
			RunE: a.acts("trust-update", func(_ context.Context, args []string) (answer, error) { return a.trustUpdate(args[0]) }),
		},
		&cobra.Command{
			Use: "show [FILE]", Short: "show a trust root: the pinned one, or that of a file", Args: cobra.MaximumNArgs(1),
			RunE: a.verb("trust-show", func(_ context.Context, args []string) (answer, error) { return a.trustShow(args) }),
		},
		a.trustRootCommand(),
	)
	return c
}

// trustDir is where trust is pinned: in the state, or where there is none, in the configuration of the user.
func (a *app) trustDir() (string, error) {
	state, err := a.stateDir()
	if err == nil {
		if _, err := os.Stat(filepath.Join(state, "owner.json")); err == nil {
			return filepath.Join(state, trustDirName), nil
		}
	}
	if a.state != "" || a.rack != "" {
		return "", &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%s: there is no state yet", state), hint: "expunge list makes it"}
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "expunge", trustDirName), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage("set XDG_CONFIG_HOME", errors.New("there is no place for trust: HOME is not set"))
	}
	return filepath.Join(home, ".config/expunge", trustDirName), nil
}

// pinned is the pinned trust root, nil when there is none.
func (a *app) pinned() (*attest.Roots, error) {
	dir, err := a.trustDir()
	var none *problem
	if errors.As(err, &none) {
		return nil, nil // where there is no place, nothing was pinned
	}
	if err != nil {
		return nil, err
	}
	return readPinned(dir)
}

func readPinned(dir string) (*attest.Roots, error) {
	name := filepath.Join(dir, trustRootFile)
	data, err := verifying.ReadTrustFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pinned trust root: %w", err)
	}
	roots, err := attest.ParseRoots(data)
	if err != nil {
		return nil, &problem{code: exitInternal, name: "trust_damaged", err: fmt.Errorf("%s: %w", name, err), hint: "restore it from a backup, or remove it and pin again"}
	}
	return roots, nil
}

// refusedRoot is the answer to a root that is not taken.
func refusedRoot(file string, err error) error {
	name := "invalid"
	for is, code := range map[error]string{attest.ErrRootRollback: "rollback", attest.ErrRootFork: "fork", attest.ErrRootGap: "gap", attest.ErrRootUnsigned: "unsigned"} {
		if errors.Is(err, is) {
			name = code
		}
	}
	return &problem{code: exitInvalid, name: name, err: fmt.Errorf("%s: %w", file, err), hint: "nothing was changed; ask whoever keeps the root"}
}

// keepRoots changes what is pinned, while nobody else does.
func (a *app) keepRoots(change func(have *attest.Roots) (*attest.Roots, error)) (roots *attest.Roots, dir string, err error) {
	if dir, err = a.trustDir(); err != nil {
		return nil, "", err
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	lock, err := durable.WaitLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	have, err := readPinned(dir)
	if err != nil {
		return nil, "", err
	}
	if roots, err = change(have); err != nil {
		return nil, "", err
	}
	data, err := roots.Bytes()
	if err != nil {
		return nil, "", err
	}
	return roots, dir, durable.WriteFile(filepath.Join(dir, trustRootFile), data, 0o644)
}

func readRootFile(file string) ([]byte, error) {
	data, err := verifying.ReadTrustFile(file)
	if err == nil && !verifying.IsRoot(data) {
		err = errors.New("it is no trust root")
	}
	if err != nil {
		return nil, usage("a trust root: expunge trust root new begins one", fmt.Errorf("%s: %w", file, err))
	}
	return data, nil
}

func (a *app) trustPin(file, fingerprint string) (answer, error) {
	data, err := readRootFile(file)
	if err != nil {
		return answer{}, err
	}
	given, err := attest.ParseRoots(data)
	if err != nil {
		return answer{}, refusedRoot(file, err)
	}
	switch {
	case fingerprint == "":
		return answer{}, &problem{code: exitRefused, name: "fingerprint_missing", err: fmt.Errorf("%s: its first version has the fingerprint %s", file, given.Pin()),
			hint: "compare it with the one that you were given by another way than the file, and pin it with --sha256"}
	case !attest.IsFingerprint(fingerprint):
		return answer{}, usage("64 digits in lower-case hex", errors.New("--sha256 is no fingerprint"))
	case fingerprint != given.Pin():
		return answer{}, &problem{code: exitRefused, name: "fingerprint_differs", err: fmt.Errorf("%s: its first version has the fingerprint %s, and not the one that was given", file, given.Pin()), hint: "it is another root: ask whoever gave you file and fingerprint"}
	}
	roots, dir, err := a.keepRoots(func(have *attest.Roots) (*attest.Roots, error) {
		if have == nil {
			return given, nil
		}
		if have.Pin() != given.Pin() {
			return nil, &problem{code: exitRefused, name: "pinned_already", err: fmt.Errorf("another root is pinned, with the fingerprint %s", have.Pin()), hint: "whoever means to change roots removes trust/root.json first"}
		}
		longer, err := have.Extend(data)
		if err != nil {
			err = refusedRoot(file, err)
		}
		return longer, err
	})
	if err != nil {
		return answer{}, err
	}
	return rootAnswer(filepath.Join(dir, trustRootFile), roots.Pin(), roots.Newest(), nil, ""), nil
}

func (a *app) trustUpdate(file string) (answer, error) {
	data, err := readRootFile(file)
	if err != nil {
		return answer{}, err
	}
	roots, dir, err := a.keepRoots(func(have *attest.Roots) (*attest.Roots, error) {
		if have == nil {
			return nil, &problem{code: exitNotFound, name: "not_pinned", err: errors.New("no trust root is pinned"), hint: "expunge trust pin FILE --sha256 FINGERPRINT"}
		}
		longer, err := have.Extend(data)
		if err != nil {
			err = refusedRoot(file, err)
		}
		return longer, err
	})
	if err != nil {
		return answer{}, err
	}
	return rootAnswer(filepath.Join(dir, trustRootFile), roots.Pin(), roots.Newest(), nil, ""), nil
}

func (a *app) trustShow(args []string) (answer, error) {
	if len(args) == 1 {
		data, err := readRootFile(args[0])
		if err != nil {
			return answer{}, err
		}
		d, err := attest.ParseRootDraft(data)
		if err != nil {
			return answer{}, refusedRoot(args[0], err)
		}
		return draftAnswer(args[0], d)
	}
	dir, err := a.trustDir()
	if err != nil {
		return answer{}, err
	}
	roots, err := readPinned(dir)
	if err == nil && roots == nil {
		err = &problem{code: exitNotFound, name: "not_pinned", err: errors.New("no trust root is pinned"), hint: "expunge trust pin FILE --sha256 FINGERPRINT"}
	}
	if err != nil {
		return answer{}, err
	}
	return rootAnswer(filepath.Join(dir, trustRootFile), roots.Pin(), roots.Newest(), nil, ""), nil
}

// trust is whose word is taken: of a file, of the pinned root, or else of this state's own keys.
func (a *app) trust(flag, file, pin string) (attest.Trust, error) {
	roots, err := a.pinned()
	if err != nil {
		return attest.Trust{}, err
	}
	switch {
	case file != "":
		t, err := verifying.LoadTrust(file, pin, roots)
		if err != nil {
			return attest.Trust{}, usage(trustHint, fmt.Errorf("%s %s: %w", flag, file, err))
		}
		return t, nil
	case pin != "":
		return attest.Trust{}, usage(flag+" FILE with the trust root that has it", errors.New("--pin is the fingerprint of a file's trust root"))
	case roots != nil:
		return roots.Trust()
	}
	return a.ownTrust()
}

// ownTrust are the public keys of this state: what they vouch for is trusted by itself only.
func (a *app) ownTrust() (attest.Trust, error) {
	dir, err := a.stateDir()
	if err != nil {
		return attest.Trust{}, err
	}
	return agent.OwnTrust(dir)
}

// rootItem is what --json says of a trust root.
type rootItem struct {
	File        string `json:"file"`
	Fingerprint string `json:"fingerprint"`
	attest.Root
	SignedBy []string `json:"signed_by,omitempty"` // of the last version, while it is worked on
	Missing  string   `json:"missing,omitempty"`   // signatures, in words
	Complete bool     `json:"complete"`
}

func draftAnswer(file string, d *attest.RootDraft) (answer, error) {
	missing, err := d.Missing()
	if err != nil {
		return answer{}, refusedRoot(file, err)
	}
	return rootAnswer(file, d.Pin(), d.Root(), d.SignedBy(), missing), nil
}

func rootAnswer(file, pin string, r attest.Root, signed []string, missing string) answer {
	item := rootItem{file, pin, r, signed, missing, missing == ""}
	return answer{result: item, text: func(w io.Writer) error {
		_, err := io.WriteString(w, item.text())
		return err
	}}
}
