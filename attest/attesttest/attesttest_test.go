package attesttest

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// The schema is for others: it must refuse what the verifier refuses, as far as a schema can.
func TestSchemaRefusesFalseClaims(t *testing.T) {
	data, err := os.ReadFile("../testdata/certificate.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	CheckSchema(t, data)
	var c attest.Certificate
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(c.Result.Payload)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"mismatches":         {`"mismatches":0`, `"mismatches":3`},
		"read errors":        {`"readErrors":0`, `"readErrors":1`},
		"unknown member":     {`"scope":`, `"scoop":1,"scope":`},
		"failed, with clear": {`"status":"sanitized"`, `"status":"failed","reason":"x"`},
		"failed, no reason":  {`"status":"sanitized"`, `"status":"failed"`},
		"device scope":       {`"scope":"logical"`, `"scope":"device"`},
		"purge by overwrite": {`"method":"clear"`, `"method":"purge"`},
		"a float":            {`"samples":2002`, `"samples":20.5`},
		"escape sequence":    {`"model":"virtio disk"`, `"model":"\u001b[2J"`},
		"status only passed": {`"mode":"sampled"`, `"mode":"status"`},
		"local time":         {`Z"`, `+01:00"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.ReplaceAll(string(payload), change[0], change[1])
			if changed == string(payload) {
				t.Fatal("nothing was changed: the test shows nothing")
			}
			if err := Validate("sanitization.v1.schema.json", []byte(changed)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}
