// Package attesttest holds certificates against the JSON schemas, for tests of whatever issues
// them.
package attesttest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/schema"
)

// CheckRecord fails the test when the statement of a record that is no certificate does not fit the schema of its kind.
func CheckRecord(t testing.TB, record []byte, kind string) {
	t.Helper()
	var r attest.Record
	if err := json.Unmarshal(record, &r); err != nil {
		t.Fatal(err)
	}
	check(t, kind+".v1.schema.json", r.Record)
	for _, s := range r.Sessions {
		check(t, "session.v1.schema.json", s)
	}
}

// CheckSchema fails the test when a statement of the certificate does not fit its schema.
func CheckSchema(t testing.TB, certificate []byte) {
	t.Helper()
	var c attest.Certificate
	if err := json.Unmarshal(certificate, &c); err != nil {
		t.Fatal(err)
	}
	check(t, "intent.v1.schema.json", c.Intent)
	check(t, "sanitization.v1.schema.json", c.Result)
	for _, s := range c.Sessions {
		check(t, "session.v1.schema.json", s)
	}
	for _, v := range c.Validations {
		check(t, "validation.v1.schema.json", v)
	}
	for _, s := range c.Supersessions {
		check(t, "supersession.v1.schema.json", s)
	}
}

func check(t testing.TB, name string, e attest.Envelope) {
	t.Helper()
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(name, payload); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, payload)
	}
}

// compiled are schemas by their file's name: each is compiled once, and then only read.
var compiled sync.Map

// Validate holds one statement against a schema.
func Validate(name string, payload []byte) error {
	s, err := compile(name)
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	return s.Validate(instance)
}

func compile(name string) (*jsonschema.Schema, error) {
	if s, is := compiled.Load(name); is {
		return s.(*jsonschema.Schema), nil
	}
	text, err := schema.Files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, parsed); err != nil {
		return nil, err
	}
	s, err := compiler.Compile(name)
	if err != nil {
		return nil, err
	}
	compiled.Store(name, s)
	return s, nil
}
