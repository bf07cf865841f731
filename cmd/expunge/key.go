package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/keystore"
)

func (a *app) keyCommand() *cobra.Command {
	show := func(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
		key, err := ag.Key()
		if err != nil {
			return answer{}, err
		}
		return answer{
			result: map[string]string{"keyid": key.ID, "role": key.Role, "public_key": string(key.PublicPEM())},
			text: func(w io.Writer) error {
				_, err := w.Write(key.PublicPEM())
				return err
			},
		}, nil
	}
	c := &cobra.Command{
		Use: "key", Short: "print the public key that verifies this state's certificates; make and rotate keys", Args: cobra.NoArgs, RunE: a.served("key", show),
		Long: "key prints the public key, as a trust file for verify --trust. Hand it to auditors by another way than the certificates.\n" +
			"The private key is made on first use and stays in the state directory, readable by its owner alone. key init makes it\n" +
			"before, encrypted with age (by a passphrase, or to recipients), or kept by another program behind a Unix socket.",
	}
	var format string
	export := &cobra.Command{
		Use: "export", Short: "print public keys for others: trust files, logs, trust roots", Args: cobra.NoArgs,
		Long: "key export prints what others need of this state: pem is the key as a trust file, vkey the log's keys for witnesses\n" +
			"(c2sp.org/signed-note), root the key and the log for whoever keeps a trust root (expunge trust root add).",
		RunE: a.served("key-export", func(_ context.Context, ag *agent.Agent, _ []string) (answer, error) { return keyExport(ag, format) }),
	}
	export.Flags().StringVar(&format, "format", "pem", "`FORMAT`: pem, vkey or root")
	c.AddCommand(
		&cobra.Command{Use: "show", Short: "print the public key", Args: cobra.NoArgs, RunE: a.served("key", show)},
		&cobra.Command{Use: "list", Short: "list the keys of this state", Args: cobra.NoArgs, RunE: a.served("key-list", a.keyList)},
		export, a.keyInitCommand(), a.keyRotateCommand(),
	)
	return c
}

func keyExport(ag *agent.Agent, format string) (answer, error) {
	if !slices.Contains([]string{"pem", "vkey", "root"}, format) {
		return answer{}, usage("--format pem, vkey or root", fmt.Errorf("--format %s is not known", format))
	}
	key, err := ag.Key()
	if err != nil {
		return answer{}, err
	}
	log, size, err := ag.Log()
	if err != nil {
		return answer{}, err
	}
	text := key.PublicPEM()
	switch format {
	case "vkey":
		text = []byte(strings.Join(log.VKeys(), "\n") + "\n")
	case "root":
		if text, err = attest.NewRootEntry(key, log, size); err != nil {
			return answer{}, err
		}
	}
	return answer{result: map[string]string{"keyid": key.ID, "role": key.Role, "format": format, "exported": string(text)}, text: func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}}, nil
}

type keyItem struct {
	KeyID string `json:"keyid"`
	Role  string `json:"role"`
	Alg   string `json:"alg"`
	Store string `json:"store"` // pem, age, signer, or retired
	File  string `json:"file"`
	Since string `json:"since"` // when the file was written
	Root  string `json:"root"`  // how the pinned trust root stands to it now; "none" without one
}

func (a *app) keyList(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
	if _, _, err := ag.Log(); err != nil {
		return answer{}, err
	}
	roots, err := a.pinned()
	if err != nil {
		return answer{}, err
	}
	dir, role := ag.KeysDir()
	current, err := keystore.Find(dir, role)
	if err != nil {
		return answer{}, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.retired"))
	if err != nil {
		return answer{}, err
	}
	if current != "" {
		files = append([]string{current}, files...)
	}
	list := []keyItem{}
	for _, f := range files {
		item, err := describeKey(ag, f, roots)
		if err != nil {
			return answer{}, err
		}
		list = append(list, item)
	}
	return answer{items: list, text: func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "KEY\tROLE\tALGORITHM\tSTORE\tSINCE\tBY THE TRUST ROOT")
		for _, k := range list {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", k.KeyID, k.Role, k.Alg, k.Store, k.Since, k.Root)
		}
		if len(list) == 0 {
			fmt.Fprintln(t, "(no key yet: it is made on first use, or by expunge key init)")
		}
		return t.Flush()
	}}, nil
}

// describeKey says of a key what its public half tells: nothing is decrypted.
func describeKey(ag *agent.Agent, file string, roots *attest.Roots) (keyItem, error) {
	public := strings.TrimSuffix(file, filepath.Ext(file)) + ".pub"
	item := keyItem{Store: strings.TrimPrefix(filepath.Ext(file), "."), File: file, KeyID: "unknown", Root: "none"}
	info, err := os.Lstat(file)
	if err != nil {
		return item, err
	}
	item.Since = info.ModTime().UTC().Format(time.RFC3339)
	data, err := os.ReadFile(public)
	if errors.Is(err, os.ErrNotExist) {
		return item, nil
	}
	if err != nil {
		return item, err
	}
	trust, err := attest.ParseTrust(data)
	if err != nil || len(trust.Keys()) != 1 {
		return item, &attest.KeyFileError{File: public, Problem: "does not hold one public key", Hint: "expunge key show writes it again"}
	}
	k := trust.Keys()[0]
	item.KeyID, item.Role, item.Alg = k.ID, k.Role, string(k.Alg)
	if roots != nil {
		log, size, err := ag.Log()
		if err != nil {
			return item, err
		}
		item.Root = roots.Newest().Standing(k.ID, log, size, time.Now().UTC().Format(time.RFC3339))
	}
	return item, nil
}
