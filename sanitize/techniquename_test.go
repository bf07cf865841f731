package sanitize

import (
	"errors"
	"strings"
	"testing"
)

// However people write a technique it is the one they mean, and a wrong name is answered with the right one.
func TestTechniquesByName(t *testing.T) {
	for name, want := range map[string]Technique{
		"host-overwrite": HostOverwrite, "host overwrite": HostOverwrite, "Host_Overwrite": HostOverwrite, "crypto": CryptographicErase, "cryptographic-erase": CryptographicErase,
		"crypto+block": CryptoThenBlock, "cryptographic erase followed by block erase": CryptoThenBlock, "block": BlockErase, "block-erase": BlockErase, "tcg-revert": TCGRevert,
		"format-crypto": CryptographicFormat, "security-erase": SecurityErase, "enhanced security erase": EnhancedSecurityErase, "drive-overwrite": DriveOverwrite,
	} {
		if got, err := techniqueByName(name); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, technique := range Techniques() {
		if got, err := techniqueByName(technique.Word()); err != nil || got != technique {
			t.Errorf("%q: %q, %v", technique.Word(), got, err)
		}
	}
	for name, meant := range map[string]string{"crypto-erase": "crypto", "blockerase": "block", "hostoverwrite": "host-overwrite", "tcgrevert": "tcg-revert", "crypto_block": "crypto+block", "cryptoblock": "crypto+block",
		"crypto +block": "crypto+block", "Crypto-then-block": "crypto+block", "crypto,blok": "crypto+block", "formatcrypto": "format-crypto", "crypto-format": "format-crypto", "++": "", "shred": "", "securityerase": "security-erase"} {
		_, err := techniqueByName(name)
		var request *RequestError
		if !errors.As(err, &request) || !strings.Contains(err.Error(), "crypto+block, crypto, block, drive-overwrite") {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if want := "perhaps " + meant + " is meant"; strings.Contains(err.Error(), want) != (meant != "") || strings.Contains(err.Error(), "perhaps") != (meant != "") {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}
