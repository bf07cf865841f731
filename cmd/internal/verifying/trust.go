package verifying

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/expunge-dev/expunge/attest"
)

// maxTrustFile is how many bytes a trust file may have.
const maxTrustFile = 64 << 20

// LoadTrust reads whose word is taken: public keys in PEM, or a trust root with all its versions. A root is taken only
// when its first version is the one whose fingerprint the caller has, pin, or the one that was pinned before.
func LoadTrust(file, pin string, pinned *attest.Roots) (attest.Trust, error) {
	data, err := ReadTrustFile(file)
	if err != nil {
		return attest.Trust{}, err
	}
	if !IsRoot(data) {
		if pin != "" {
			return attest.Trust{}, errors.New("a fingerprint is of a trust root, and this is none")
		}
		return attest.ParseTrust(data)
	}
	if pinned != nil && (pin == "" || pin == pinned.Pin()) {
		roots, err := pinned.Extend(data)
		if err != nil {
			return attest.Trust{}, err
		}
		return roots.Trust()
	}
	roots, err := attest.ParseRoots(data)
	switch {
	case err != nil:
		return attest.Trust{}, err
	case pin == "":
		return attest.Trust{}, errors.New("a trust root is taken by the fingerprint of its first version, which you have by another way than the file: --pin FINGERPRINT")
	case !attest.IsFingerprint(pin):
		return attest.Trust{}, errors.New("a fingerprint has 64 digits, in lower-case hex")
	case pin != roots.Pin():
		return attest.Trust{}, fmt.Errorf("its first version has the fingerprint %s, and not the one that was given", roots.Pin())
	}
	return roots.Trust()
}

// IsRoot says whether a trust file is a trust root rather than PEM.
func IsRoot(data []byte) bool {
	return len(data) > 0 && data[0] == '{' && bytes.Contains(data, []byte(attest.RootPayloadType))
}

// ReadTrustFile reads a trust file of bounded size.
func ReadTrustFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, plain(err)
	}
	defer func() { _ = f.Close() }() // read-only
	data, err := io.ReadAll(io.LimitReader(f, maxTrustFile+1))
	if err == nil && len(data) > maxTrustFile {
		err = fmt.Errorf("more than %d bytes are no trust file", maxTrustFile)
	}
	return data, err
}
