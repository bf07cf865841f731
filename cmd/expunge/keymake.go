package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/keystore"
	"github.com/expunge-dev/expunge/internal/terminal"
)

// unlockFlags are how encrypted keys are opened. A passphrase is never an argument nor in the environment, which others
// can read.
type unlockFlags struct {
	passphraseFile, identities string
	known                      string // read once: the file may be a pipe
}

// unlocking guards what unlockFlags have read: one passphrase is asked for at a time.
var unlocking sync.Mutex

func (a *app) unlockFlags(flags *pflag.FlagSet) {
	flags.StringVar(&a.keys.passphraseFile, "key-passphrase-file", "", "the passphrase of an encrypted key, from `FILE` (- is the standard input); without it, it is typed")
	flags.StringVar(&a.keys.identities, "key-identity-file", "", "age identities, for a key that is encrypted to recipients, from `FILE`")
}

func (a *app) unlock() keystore.Unlock {
	return keystore.Unlock{Passphrase: a.passphrase, Identities: a.keys.identities}
}

func (a *app) passphrase(file string) (string, error) {
	unlocking.Lock()
	defer unlocking.Unlock()
	if a.keys.known != "" {
		return a.keys.known, nil
	}
	var err error
	if a.keys.passphraseFile != "" {
		a.keys.known, err = a.readPassphrase(a.keys.passphraseFile)
		return a.keys.known, err
	}
	in, isFile := a.stdin.(*os.File)
	if !isFile || !terminal.Is(in) {
		return "", errors.New("there is no terminal to type it at")
	}
	fmt.Fprintf(a.stderr, "expunge: type the passphrase of %s: ", file)
	a.keys.known, err = terminal.Secret(in)
	fmt.Fprintln(a.stderr)
	return a.keys.known, err
}

// maxPassphrase is how many bytes a passphrase may have.
const maxPassphrase = 1024

// readPassphrase reads a file with one line. Its errors quote nothing of what is in it.
func (a *app) readPassphrase(file string) (string, error) {
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // read-only
		info, err := f.Stat()
		if err != nil {
			return "", err
		}
		if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			return "", &attest.KeyFileError{File: file, Problem: fmt.Sprintf("others can read it (mode %04o)", info.Mode().Perm()), Hint: "if nobody did: chmod 600 " + file}
		}
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPassphrase+1))
	if err != nil {
		return "", err
	}
	line := string(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")))
	if line == "" || len(line) > maxPassphrase || strings.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("%s: it does not hold one line of at most %d bytes", file, maxPassphrase)
	}
	return line, nil
}

// makeFlags say how a new key is made and kept.
type makeFlags struct {
	alg, passphraseFile, signer, signerKey string
	recipients                             []string
}

func (f *makeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.alg, "alg", "", "`ALGORITHM`: ed25519 (the default) or p256")
	flags.StringVar(&f.passphraseFile, "age-passphrase-file", "", "encrypt the key by the passphrase in `FILE` (- is the standard input)")
	flags.StringArrayVar(&f.recipients, "age-recipient", nil, "encrypt the key to `RECIPIENT` (age1…); may be given several times")
	flags.StringVar(&f.signer, "signer", "", "the key is kept by another program, behind the Unix socket `SOCKET`")
	flags.StringVar(&f.signerKey, "signer-key", "", "the public key (PEM) that the signer has, from `FILE`")
}

func (a *app) makeOptions(f makeFlags) (o keystore.Options, err error) {
	switch f.alg {
	case "":
	case "ed25519":
		o.Alg = attest.Ed25519
	case "p256":
		o.Alg = attest.P256
	default:
		return o, usage("--alg ed25519 or p256", fmt.Errorf("--alg %s is not known", f.alg))
	}
	ways := 0
	for _, given := range []bool{f.passphraseFile != "", len(f.recipients) > 0, f.signer != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 || (f.signer != "") != (f.signerKey != "") || f.signer != "" && f.alg != "" {
		return o, usage("--age-passphrase-file FILE, or --age-recipient RECIPIENT, or --signer SOCKET with --signer-key FILE", errors.New("a key is kept in one way; a signer has its own algorithm"))
	}
	if f.passphraseFile != "" {
		if o.Passphrase, err = a.readPassphrase(f.passphraseFile); err != nil {
			return o, usage("a file with one line", fmt.Errorf("--age-passphrase-file %w", err))
		}
	}
	o.Recipients = f.recipients
	if f.signer != "" {
		if o.Socket, err = filepath.Abs(f.signer); err != nil {
			return o, err
		}
		if o.SignerKey, err = os.ReadFile(f.signerKey); err != nil {
			return o, usage("the signer's public key in PEM", fmt.Errorf("--signer-key %w", err))
		}
	}
	return o, nil
}

func (a *app) keyInitCommand() *cobra.Command {
	var f makeFlags
	var role, out string
	c := &cobra.Command{
		Use: "init", Short: "make a key, before the first use makes one", Args: cobra.NoArgs,
		Long: "key init makes the key that signs for this state, and refuses when there is one. With --out it makes a key of its own in FILE\n" +
			"(.pem, .age or .signer), and its public key beside it: of a validator, who accepts or rejects what was done, or a root key,\n" +
			"which signs trust roots. Such keys are never in the state of a host.",
		Example: "  expunge key init --age-passphrase-file /run/credentials/expunge/passphrase\n  expunge key init --signer /run/hsm.sock --signer-key hsm.pub\n" +
			"  expunge key init --role root --alg p256 --age-recipient age1… --out alice.age",
		RunE: a.acts("key-init", func(context.Context, []string) (answer, error) {
			o, err := a.makeOptions(f)
			if err != nil {
				return answer{}, err
			}
			switch role {
			case attest.RoleHost:
				if out != "" {
					return answer{}, usage("leave --out away, or --role validator", errors.New("the key of a host is in its state"))
				}
				return a.initHostKey(o)
			case attest.RoleValidator, attest.RoleRoot:
				return a.createKey(role, out, o)
			}
			return answer{}, usage("--role host, validator or root", fmt.Errorf("--role %s is not known", role))
		}),
	}
	f.add(c.Flags())
	c.Flags().StringVar(&role, "role", attest.RoleHost, "`ROLE`: host, validator or root")
	c.Flags().StringVar(&out, "out", "", "make a key of a validator or a root key in `FILE`, which must not be there yet")
	return c
}

func (a *app) initHostKey(o keystore.Options) (answer, error) {
	ag, err := a.agent()
	if err != nil {
		return answer{}, err
	}
	k, err := ag.InitKey(o)
	if err != nil {
		return answer{}, keyMade(err)
	}
	dir, role := ag.KeysDir()
	return keyAnswer(k, filepath.Join(dir, role+"."+string(o.Kind())), filepath.Join(dir, role+".pub")), nil
}

func (a *app) createKey(role, out string, o keystore.Options) (answer, error) {
	if out == "" {
		return answer{}, usage("--out FILE", fmt.Errorf("the key of a %s is a file of its own", role))
	}
	name, err := filepath.Abs(out)
	if err != nil {
		return answer{}, err
	}
	state, err := a.stateDir()
	if err == nil && strings.HasPrefix(name, state+string(filepath.Separator)) {
		return answer{}, usage("keep it where the host cannot read it", fmt.Errorf("%s is in the state of a host", out))
	}
	if keystore.KindOf(name) != o.Kind() || filepath.Ext(name) != "."+string(o.Kind()) {
		return answer{}, usage("--out "+strings.TrimSuffix(out, filepath.Ext(out))+"."+string(o.Kind()), fmt.Errorf("%s: such a key is kept in a file that ends in .%s", out, o.Kind()))
	}
	k, public, err := keystore.Create(name, role, o)
	if errors.Is(err, keystore.ErrKeyThere) {
		return answer{}, keyMade(err)
	}
	if err != nil {
		return answer{}, outputProblem(out, err)
	}
	return keyAnswer(k, name, public), nil
}

func keyMade(err error) error {
	if errors.Is(err, keystore.ErrKeyThere) {
		return &problem{code: exitRefused, name: "key_exists", err: err, hint: "expunge key rotate puts a new one in its place"}
	}
	return err
}

func keyAnswer(k *attest.Key, file, public string) answer {
	return answer{
		result: map[string]string{"keyid": k.ID, "role": k.Role, "alg": string(k.Alg), "file": file, "public_key_file": public, "public_key": string(k.PublicPEM())},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "key %s (%s, %s)\n  private: %s\n  public:  %s\n", k.ID, k.Role, k.Alg, file, public)
			return err
		},
	}
}

func (a *app) keyRotateCommand() *cobra.Command {
	var f makeFlags
	c := &cobra.Command{
		Use: "rotate", Short: "put a new key in the place of the one that signs", Args: cobra.NoArgs,
		Long: "key rotate makes a new key for this state. The log goes on, old certificates stay as they are, and what is done next is vouched for\n" +
			"by the new key. The old private key is kept as ROLE-ID.retired: nothing needs it any more; destroy it when the trust root has the\n" +
			"new one. Whoever keeps a trust root adds the new key (expunge key export --format root) and retires the old one at the\n" +
			"place in the log that is printed.",
		RunE: a.served("key-rotate", func(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
			o, err := a.makeOptions(f)
			if err != nil {
				return answer{}, err
			}
			return a.keyRotate(ag, o)
		}),
	}
	f.add(c.Flags())
	return c
}

func (a *app) keyRotate(ag *agent.Agent, o keystore.Options) (answer, error) {
	r, err := ag.RotateKey(o)
	if err != nil {
		return answer{}, err
	}
	log, size, err := ag.Log()
	if err != nil {
		return answer{}, err
	}
	return answer{
		result: map[string]any{"keyid": r.New.ID, "role": r.New.Role, "alg": string(r.New.Alg), "old_keyid": r.Old.ID, "retired": r.Retired, "log": log.Origin, "log_size": size, "public_key": string(r.New.PublicPEM())},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "key %s (%s, %s) is in the place of key %s\n  old private key: %s\n  for a trust root: add the output of \"expunge key export --format root\", and\n  trust root retire ROOT %s --log %s --index %d\n",
				r.New.ID, r.New.Role, r.New.Alg, r.Old.ID, r.Retired, r.Old.ID, log.Origin, size)
			return err
		},
	}, nil
}
