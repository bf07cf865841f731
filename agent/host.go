package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/expunge-dev/expunge/attest"
)

// newRun describes this run of the program to those who read its certificates. Of a rack it names no
// machine: what is done to virtual drives is done nowhere.
func (a *Agent) newRun() *attest.Run {
	r := &attest.Run{Agent: a.attestAgent(), Binary: binaryHash(), Simulated: a.Simulated()}
	if !r.Simulated {
		r.Host = attest.Host{
			Kernel: fact("/proc/sys/kernel/osrelease"), BootID: fact("/proc/sys/kernel/random/boot_id"),
			Manufacturer: fact("/sys/class/dmi/id/sys_vendor"), Product: fact("/sys/class/dmi/id/product_name"),
			Serial: fact("/sys/class/dmi/id/product_serial"), UUID: fact("/sys/class/dmi/id/product_uuid"),
		}
	}
	return r
}

// fact is what the kernel says in a file of one line; "" when it says nothing, or not to us.
func fact(name string) string {
	data, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		return ""
	}
	return short(attest.CleanASCII(strings.TrimSpace(string(data))))
}

// binaryHash is the hex SHA-256 of the program's file as the kernel runs it; "" when it cannot be read.
var binaryHash = sync.OnceValue(func() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // read-only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
})
