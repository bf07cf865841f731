package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/keystore"
	"github.com/expunge-dev/expunge/internal/durable"
)

// boundFlags are a place in a log, a time, or both.
type boundFlags struct {
	log   string
	index int64
	time  string
}

func (f *boundFlags) add(flags *pflag.FlagSet, what string) {
	flags.StringVar(&f.log, "log", "", "the `ORIGIN` of the log that --index is of (default the one log of the root, or of what is added)")
	flags.Int64Var(&f.index, "index", -1, what+" entry `N` of the log on")
	flags.StringVar(&f.time, "time", "", what+" `TIME` on (RFC 3339, UTC), by the clocks of hosts")
}

func (f boundFlags) bound(only string) (*attest.Bound, error) {
	if f.index < 0 && f.time == "" {
		if f.log != "" {
			return nil, usage("--index N", errors.New("--log without --index says nothing"))
		}
		return nil, nil
	}
	b := &attest.Bound{Time: f.time}
	if f.index >= 0 {
		if f.log == "" {
			f.log = only
		}
		if f.log == "" {
			return nil, usage("--log ORIGIN", errors.New("an index is of a log, and there is not exactly one that could be meant"))
		}
		b.Index, b.Origin = &f.index, f.log
	}
	return b, nil
}

func onlyLog(logs []attest.RootLog) string {
	if len(logs) == 1 {
		return logs[0].Origin
	}
	return ""
}

// trustRootCommand are the verbs of those who keep a root. All work on one FILE with every version; the last one is a
// draft until enough root keys have signed it.
func (a *app) trustRootCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "root", Short: "keep a trust root: begin, change and sign it", Args: cobra.NoArgs,
		Long: "A trust root is one FILE with all its versions. What changes it begins the next version, a draft, which counts as soon as enough\n" +
			"root keys have signed it: of the version before and of its own. Root keys are made with expunge key init --role root --out FILE.",
		Example: "  expunge trust root new root.json --root-key a.pub --root-key b.pub --root-key c.pub --threshold 2\n  expunge trust root add root.json host.json\n" +
			"  expunge trust root sign root.json --key a.pem\n  expunge trust root retire root.json KEYID --index 1200",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.rootNew(), a.rootAdd(), a.rootRetire(), a.rootRevoke(), a.rootKeys(), a.rootSign(), a.rootJoin())
	return c
}

// editRoot changes the draft in a file, or begins one.
func (a *app) editRoot(file string, change func(d *attest.RootDraft) error) (answer, error) {
	data, err := readRootFile(file)
	if err != nil {
		return answer{}, err
	}
	d, err := attest.ParseRootDraft(data)
	if err != nil {
		return answer{}, refusedRoot(file, err)
	}
	if err := change(d); err != nil {
		var p *problem
		var key *attest.KeyFileError
		if errors.As(err, &p) || errors.As(err, &key) {
			return answer{}, err
		}
		return answer{}, usage("nothing was changed; expunge trust show "+file+" shows what is there", fmt.Errorf("%s: %w", file, err))
	}
	if data, err = d.Bytes(); err != nil {
		return answer{}, err
	}
	if err := durable.WriteFile(file, data, 0o644); err != nil {
		return answer{}, err
	}
	if d.Dropped > 0 {
		a.say("%d signatures of the draft were dropped: they were of what it was before", d.Dropped)
	}
	return draftAnswer(file, d)
}

func readPublics(files []string) ([]attest.Public, error) {
	var keys []attest.Public
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, usage("a public key in PEM", err)
		}
		trust, err := attest.ParseTrust(data)
		if err != nil {
			return nil, usage("a public key in PEM", fmt.Errorf("%s: %w", f, err))
		}
		for _, k := range trust.Keys() {
			if k.Role != "" && k.Role != attest.RoleRoot {
				return nil, usage("expunge key init --role root --out FILE makes one", fmt.Errorf("%s: key %.16s… is of the role %s, and signs no roots", f, k.ID, k.Role))
			}
			keys = append(keys, k.Public)
		}
	}
	return keys, nil
}

func (a *app) rootNew() *cobra.Command {
	var keys []string
	var threshold int64
	c := &cobra.Command{
		Use: "new FILE", Short: "begin a trust root", Args: cobra.ExactArgs(1),
		RunE: a.acts("trust-root-new", func(_ context.Context, args []string) (answer, error) {
			publics, err := readPublics(keys)
			if err != nil {
				return answer{}, err
			}
			d, err := attest.NewRootDraft(publics, threshold)
			if err != nil {
				return answer{}, usage("--root-key FILE for each root key, and --threshold N of them", err)
			}
			data, err := d.Bytes()
			if err != nil {
				return answer{}, err
			}
			if err := createFile(args[0], data, 0o644); err != nil {
				return answer{}, err
			}
			return draftAnswer(args[0], d)
		}),
	}
	c.Flags().StringArrayVar(&keys, "root-key", nil, "a root key's public half (PEM), from `FILE`; given once for each")
	c.Flags().Int64Var(&threshold, "threshold", 0, "how many root keys sign a version: `N`")
	return c
}

func (a *app) rootAdd() *cobra.Command {
	var role string
	var cosigners []string
	var from boundFlags
	c := &cobra.Command{
		Use: "add FILE [EXPORT...]", Short: "add the keys of hosts and validators, and the logs of hosts", Args: cobra.MinimumNArgs(1),
		Long: "add takes what expunge key export --format root printed on a host, or public keys in PEM.",
		RunE: a.acts("trust-root-add", func(_ context.Context, args []string) (answer, error) {
			if len(args) == 1 && len(cosigners) == 0 {
				return answer{}, usage("name what a host exported, or --cosigner", errors.New("there is nothing to add"))
			}
			return a.editRoot(args[0], func(d *attest.RootDraft) error {
				return d.Edit(func(r *attest.Root) error {
					r.Cosigners = append(r.Cosigners, cosigners...)
					for _, f := range args[1:] {
						data, err := os.ReadFile(f)
						if err != nil {
							return err
						}
						e, err := attest.ParseRootEntry(data, role)
						if err != nil {
							return fmt.Errorf("%s: %w", f, err)
						}
						bound, err := from.bound(e.Log.Origin)
						if err != nil {
							return err
						}
						if err := r.Add(e, bound); err != nil {
							return fmt.Errorf("%s: %w", f, err)
						}
					}
					return nil
				})
			})
		}),
	}
	from.add(c.Flags(), "the keys are valid from")
	c.Flags().StringVar(&role, "role", "", "the `ROLE` of keys in PEM that do not say theirs: host, simulation or validator")
	c.Flags().StringArrayVar(&cosigners, "cosigner", nil, "the verifier key `VKEY` of a witness (c2sp.org/signed-note)")
	return c
}

// oneKey finds a key of a root by the beginning of its id.
func oneKey(r attest.Root, prefix string) (string, error) {
	found := ""
	all := []string{}
	for _, k := range r.Keys {
		all = append(all, k.KeyID)
	}
	for _, k := range r.Roots {
		all = append(all, k.KeyID)
	}
	for _, l := range r.Logs {
		all = append(all, l.Keys...)
	}
	for _, id := range all {
		if len(prefix) >= 8 && strings.HasPrefix(id, prefix) {
			if found != "" && found != id {
				return "", fmt.Errorf("%s is the beginning of several keys", prefix)
			}
			found = id
		}
	}
	if found == "" && !attest.IsFingerprint(prefix) {
		return "", fmt.Errorf("%s is no key of the root, nor the first 8 or more digits of one", prefix)
	}
	if found == "" {
		found = prefix // of a key that was taken out
	}
	return found, nil
}

func (a *app) rootRetire() *cobra.Command {
	var until boundFlags
	c := &cobra.Command{
		Use: "retire FILE KEYID", Short: "end the use of a key: what it vouched for before stays good", Args: cobra.ExactArgs(2),
		RunE: a.acts("trust-root-retire", func(_ context.Context, args []string) (answer, error) {
			return a.editRoot(args[0], func(d *attest.RootDraft) error {
				return d.Edit(func(r *attest.Root) error {
					id, err := oneKey(*r, args[1])
					if err != nil {
						return err
					}
					bound, err := until.bound(onlyLog(r.Logs))
					if err != nil {
						return err
					}
					if bound == nil {
						return usage("--index N, which key rotate printed, or --time TIME", errors.New("a key is retired from some place on"))
					}
					return r.Retire(id, *bound)
				})
			})
		}),
	}
	until.add(c.Flags(), "nothing counts from")
	return c
}

func (a *app) rootRevoke() *cobra.Command {
	var since boundFlags
	var reason string
	c := &cobra.Command{
		Use: "revoke FILE KEYID --reason TEXT", Short: "take the word of a key back, from some place on or altogether", Args: cobra.ExactArgs(2),
		Long: "revoke takes the word of a host's, a validator's or a log's key back. With --index or --time nothing at or after it counts, and nothing in any\n" +
			"other log; without them nothing of the key counts. A later version can take more back, and never less.",
		RunE: a.acts("trust-root-revoke", func(_ context.Context, args []string) (answer, error) {
			return a.editRoot(args[0], func(d *attest.RootDraft) error {
				return d.Edit(func(r *attest.Root) error {
					id, err := oneKey(*r, args[1])
					if err != nil {
						return err
					}
					bound, err := since.bound(onlyLog(r.Logs))
					if err != nil {
						return err
					}
					return r.Revoke(id, reason, bound)
				})
			})
		}),
	}
	since.add(c.Flags(), "nothing counts from")
	c.Flags().StringVar(&reason, "reason", "", "why, in `TEXT`: it is shown to whoever verifies")
	return c
}

func (a *app) rootKeys() *cobra.Command {
	var add, remove []string
	var threshold int64
	c := &cobra.Command{
		Use: "keys FILE", Short: "change who signs the root, and how many", Args: cobra.ExactArgs(1),
		RunE: a.acts("trust-root-keys", func(_ context.Context, args []string) (answer, error) {
			if len(add)+len(remove) == 0 && threshold == 0 {
				return answer{}, usage("--add FILE, --remove KEYID or --threshold N", errors.New("there is nothing to change"))
			}
			return a.editRoot(args[0], func(d *attest.RootDraft) error {
				return d.Edit(func(r *attest.Root) error {
					publics, err := readPublics(add)
					if err != nil {
						return err
					}
					for _, k := range publics {
						r.AddSigner(k)
					}
					for _, prefix := range remove {
						id, err := oneKey(*r, prefix)
						if err != nil {
							return err
						}
						if err := r.RemoveSigner(id); err != nil {
							return err
						}
					}
					if threshold != 0 {
						r.Threshold = threshold
					}
					return nil
				})
			})
		}),
	}
	c.Flags().StringArrayVar(&add, "add", nil, "a root key to add: its public half (PEM), from `FILE`")
	c.Flags().StringArrayVar(&remove, "remove", nil, "a root key to take out, by the first digits of its `KEYID`")
	c.Flags().Int64Var(&threshold, "threshold", 0, "how many root keys sign a version: `N`")
	return c
}

func (a *app) rootSign() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "sign FILE --key FILE", Short: "sign the last version with a root key", Args: cobra.ExactArgs(1),
		Long: "sign adds a signature to the last version. Look at it first: expunge trust show FILE.",
		RunE: a.acts("trust-root-sign", func(_ context.Context, args []string) (answer, error) {
			if key == "" {
				return answer{}, usage("--key FILE (.pem, .age or .signer)", errors.New("there is no key to sign with"))
			}
			return a.editRoot(args[0], func(d *attest.RootDraft) error {
				k, err := keystore.OpenFile(key, attest.RoleRoot, a.unlock())
				if err != nil {
					return err
				}
				return d.Sign(k)
			})
		}),
	}
	c.Flags().StringVar(&key, "key", "", "the root key, from `FILE` (.pem, .age or .signer)")
	return c
}

func (a *app) rootJoin() *cobra.Command {
	return &cobra.Command{
		Use: "join FILE COPY...", Short: "take the signatures of copies that were signed elsewhere", Args: cobra.MinimumNArgs(2),
		RunE: a.acts("trust-root-join", func(_ context.Context, args []string) (answer, error) {
			return a.editRoot(args[0], func(d *attest.RootDraft) error {
				for _, f := range args[1:] {
					data, err := readRootFile(f)
					if err != nil {
						return err
					}
					other, err := attest.ParseRootDraft(data)
					if err != nil {
						return refusedRoot(f, err)
					}
					if err := d.Join(other); err != nil {
						return fmt.Errorf("%s: %w", f, err)
					}
				}
				return nil
			})
		}),
	}
}
