package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// cacheDir is where packages are kept unpacked, over runs.
func cacheDir() (string, error) {
	if dir := os.Getenv("EXPUNGE_E2E_CACHE"); dir != "" {
		return dir, nil
	}
	base, err := os.UserCacheDir()
	return filepath.Join(base, "expunge-e2e"), err
}

// need is the directory of an unpacked package; without it the test is skipped, and says what to do.
func need(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("EXPUNGE_E2E") == "" {
		t.Skip("a test with real kernels: run make test-e2e")
	}
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(filepath.Join(dir, "unpacked")); err != nil {
		t.Skipf("%s is not unpacked in %s: run internal/e2e/packages.sh", name, cache)
	}
	return dir
}

// tool is the path of a program of this machine; without it the test is skipped, and says what to do.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	if os.Getenv("EXPUNGE_E2E") == "" {
		t.Skip("a test with real kernels: run make test-e2e")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: apt-get install %s", name, pkg)
	}
	return path
}
