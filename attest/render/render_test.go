package render

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/expunge-dev/expunge/attest"
)

var (
	update = flag.Bool("update", false, "write golden files anew")
	leave  = flag.String("leave", "", "leave the forms of all samples in a `directory`, to be looked at")
)

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// noteSigner is the fixed key as one of c2sp.org/signed-note.
func noteSigner(name string) (note.Signer, error) {
	h := sha256.New()
	h.Write([]byte(name + "\n\x01"))
	h.Write(fixedKey.Public().(ed25519.PublicKey))
	id := binary.BigEndian.Uint32(h.Sum(nil))
	return note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(append([]byte{1}, fixedKey.Seed()...))))
}

// tool runs another program on files, and skips the test where it is not installed.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: what it would say of this page is not tested", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sealedPage is a form as a PDF with a seal, in a file.
func sealedPage(t *testing.T, f *Form) (data []byte, file string) {
	t.Helper()
	page, err := f.PDF()
	if err != nil {
		t.Fatal(err)
	}
	if data, err = Seal(page, f.bundle, signNote); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "page.pdf")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data, file
}

func TestLeave(t *testing.T) {
	if *leave == "" {
		t.Skip("-leave DIR leaves all forms there")
	}
	for name, change := range samples {
		f := sample(t, change)
		data, _ := sealedPage(t, f)
		page, err := f.HTML()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(filepath.Join(*leave, name+".pdf"), data, 0o644), os.WriteFile(filepath.Join(*leave, name+".html"), page, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// A form is of the certificate that was verified, or there is none.
func TestNoFormOfUnverifiedBytes(t *testing.T) {
	is := issuer(t)
	one, two := purged(), purged()
	two.Device.Serial, two.History.Job = "OTHER", "j-other"
	a, b := issued(t, is, one), issued(t, is, two)
	trust := attest.TrustKey(is.Key)
	forged := append([]byte{}, a...)
	forged[len(forged)/2] ^= 1
	for name, c := range map[string]struct {
		report attest.Report
		bundle []byte
	}{
		"no report":                   {attest.Report{}, a},
		"the report of another":       {attest.Verify(b, trust), a},
		"a changed certificate":       {attest.Verify(a, trust), forged},
		"no certificate":              {attest.Verify(a, trust), nil},
		"the report of a changed one": {attest.Verify(forged, trust), forged},
	} {
		if _, err := New(c.report, c.bundle, Site{}); !errors.Is(err, ErrUnverified) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := attest.Verify(a, trust)
	r.Result.Device.Serial = "EDITED" // by whoever had the report in hand
	f, err := New(r, a, Site{})
	if err != nil {
		t.Fatal(err)
	}
	if f.result().Device.Serial == "EDITED" {
		t.Error("the form shows what the report says, and not what is signed")
	}
}
