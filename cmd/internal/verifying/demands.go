package verifying

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/expunge-dev/expunge/attest"
)

// maxDemands bounds a file of demands.
const maxDemands = 64 << 10

// demandsFile is how a file says what is demanded of certificates.
type demandsFile struct {
	Demands      string    `yaml:"demands"`
	Method       string    `yaml:"method"`
	Scope        string    `yaml:"scope"`
	Verification string    `yaml:"verification"`
	Techniques   []string  `yaml:"techniques"`
	Forbid       []string  `yaml:"forbid"`
	Policies     []string  `yaml:"policies"`
	Given        []string  `yaml:"given"`
	After        time.Time `yaml:"signed-after"`
	Before       time.Time `yaml:"signed-before"`
	Validation   string    `yaml:"validation"`
	Cosigners    int       `yaml:"cosigners"`
	NoWarnings   bool      `yaml:"no-warnings"`
	NotSelf      bool      `yaml:"issuer-known"`
}

// LoadDemands reads a file of demands: YAML in which every word must be known.
func LoadDemands(name string) (attest.Demands, error) {
	f, err := os.Open(name)
	if err != nil {
		return attest.Demands{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxDemands+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return attest.Demands{}, err
	}
	return ParseDemands(data)
}

// ParseDemands reads demands.
func ParseDemands(data []byte) (attest.Demands, error) {
	if len(data) > maxDemands {
		return attest.Demands{}, fmt.Errorf("%d bytes, at most %d", len(data), maxDemands)
	}
	var f demandsFile
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return attest.Demands{}, err
	}
	if err := dec.Decode(new(demandsFile)); !errors.Is(err, io.EOF) {
		return attest.Demands{}, errors.New("there is more than one document in it")
	}
	if f.Demands == "" {
		return attest.Demands{}, errors.New("it has no name: begin with \"demands: NAME\"")
	}
	if f.After.Nanosecond() != 0 || f.Before.Nanosecond() != 0 {
		return attest.Demands{}, errors.New("certificates are signed at a second: a time has no fraction of one")
	}
	d := attest.Demands{
		Name: f.Demands, Method: f.Method, Scope: f.Scope, Verification: f.Verification, Techniques: f.Techniques, Forbid: f.Forbid,
		Policies: f.Policies, Given: f.Given, After: stamp(f.After), Before: stamp(f.Before), NoWarnings: f.NoWarnings, Validation: f.Validation, Cosigners: f.Cosigners, NotSelf: f.NotSelf,
	}
	return d, d.Check()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
