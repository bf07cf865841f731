package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
)

// maxEvidence is more than an evidence bundle can have.
const maxEvidence = 256 << 20

type evidenceResult struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"` // that the certificate pins
	Bytes  int    `json:"bytes"`
}

func (a *app) evidenceCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "evidence {SERIAL | JOB} -o FILE", Short: "write what a certificate was derived from: plan and journal", Args: cobra.ExactArgs(1),
		Long: "evidence writes the evidence bundle that a certificate pins: the plan, with all its drives, and the whole journal of the one.\n" +
			"No key, password or PIN is in it. expunge verify CERTIFICATE --evidence FILE judges it again.",
		RunE: a.served("certificate-evidence", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
			return a.certificateEvidence(ag, args[0], out)
		}),
	}
	c.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write, which must not be there yet; - is standard output")
	return c
}

func (a *app) certificateEvidence(ag *agent.Agent, name, out string) (answer, error) {
	if out == "" {
		return answer{}, usage("-o FILE, or -o - for standard output", errors.New("there is no place to write the evidence to"))
	}
	c, err := findCertificate(ag, name)
	if err != nil {
		return answer{}, err
	}
	bundle, err := ag.EvidenceBundle(c.Job, c.Drive.ID)
	if err != nil {
		return answer{}, err
	}
	if out == "-" {
		_, err := a.stdout.Write(bundle)
		return answer{}, err
	}
	sum := sha256.Sum256(bundle)
	result := evidenceResult{out, hex.EncodeToString(sum[:]), len(bundle)}
	if err := createFile(out, bundle, 0o600); err != nil {
		return answer{}, err
	}
	return answer{result: result, text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %d bytes, SHA-256 %s\n", result.File, result.Bytes, result.SHA256)
		return err
	}}, nil
}

// checkEvidence reads a bundle, and returns what holds a certificate against it.
func checkEvidence(file string, certificates []string) (func(attest.Result) *attest.Reason, error) {
	if len(certificates) != 1 || certificates[0] == "-" {
		return nil, usage("name the one certificate that the evidence is of", errors.New("--evidence belongs to one certificate in a file"))
	}
	if info, err := os.Stat(certificates[0]); err == nil && info.IsDir() {
		return nil, usage("name the one certificate that the evidence is of", fmt.Errorf("--evidence: %s is a directory", certificates[0]))
	}
	bundle, err := readLittle(file, maxEvidence)
	if err != nil {
		return nil, usage("an evidence bundle is what expunge certificate evidence wrote", fmt.Errorf("--evidence %s: %w", file, err))
	}
	return func(r attest.Result) *attest.Reason {
		err := agent.CheckEvidence(r, bundle)
		if err == nil {
			return nil
		}
		reason := &attest.Reason{Code: agent.EvidenceMismatch, Message: err.Error(), Hint: "ask who issued the certificate for the evidence of this very job"}
		var wrong *agent.EvidenceError
		if errors.As(err, &wrong) && wrong.Code == agent.EvidenceContradicts {
			reason.Code, reason.Hint = wrong.Code, "treat the drive as holding data, and keep both files"
		}
		return reason
	}, nil
}
