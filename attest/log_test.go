package attest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// copyDir copies a log, leaving the lock out.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// files lists the files of a log that hold something.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		found[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A log that was changed, cut or is of another key is an error, and nothing is added to it.
func TestChangedLogIsRefused(t *testing.T) {
	build := func(t *testing.T) Issuer {
		is := testIssuer(t, testKey(1, RoleHost))
		for _, job := range []string{"j1", "j2", "j3"} {
			mustIssue(t, is, "S", job)
		}
		return is
	}
	edit := func(name string, change func([]byte) []byte) func(*testing.T, Issuer) {
		return func(t *testing.T, is Issuer) {
			path := filepath.Join(is.Log.dir, name)
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(data), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(d []byte) []byte { d[len(d)-40] ^= 1; return d }
	for name, damage := range map[string]func(*testing.T, Issuer){
		"tile":       edit("tile/0/000.p/7", flip),
		"entries":    edit("tile/entries/000.p/7", flip),
		"checkpoint": edit("checkpoint", flip),
		"tiles gone": func(t *testing.T, is Issuer) {
			if err := os.RemoveAll(filepath.Join(is.Log.dir, "tile")); err != nil {
				t.Fatal(err)
			}
		},
		"checkpoint gone": func(t *testing.T, is Issuer) {
			if err := os.Remove(filepath.Join(is.Log.dir, "checkpoint")); err != nil {
				t.Fatal(err)
			}
		},
		"another key": func(t *testing.T, is Issuer) { *is.Log = *OpenLog(is.Log.dir, testLogKey(2), testNow) },
	} {
		t.Run(name, func(t *testing.T) {
			is := build(t)
			damage(t, is)
			if err := is.Log.Check(); err == nil {
				t.Fatal("not noticed")
			}
			if _, err := is.Reissue("j2", testDevice("S").DriveID()); err == nil && name != "entries" {
				t.Fatal("a certificate was made from it")
			}
		})
	}
}

func TestResultNeedsItsIntent(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	r := testResult("S", "j", Logged{0, hash("1")})
	if _, err := is.Result(r); !errors.Is(err, ErrNotLogged) {
		t.Fatalf("error %v, want ErrNotLogged", err)
	}
	first, err := is.Intent(testIntent("S", "j"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := is.Intent(testIntent("S", "j"))
	if err != nil || again != first {
		t.Fatalf("a second intent of one job: %+v, %v", again, err)
	}
}

// One job has one result: a second one, from a journal that was cut, would let the holder choose.
func TestOneResultPerIntent(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	first := mustIssue(t, is, "S", "j")
	if again := mustIssue(t, is, "S", "j"); !bytes.Equal(first, again) {
		t.Fatal("the same result gave another certificate")
	}
	_, err := issue(t, is, "S", "j", func(r *Result) { r.Evidence.JournalSHA256 = hash("9") })
	if !errors.Is(err, ErrOtherResult) {
		t.Fatalf("a second result: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	k, err := LoadOrCreateKey(dir, RoleHost)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "host.pem")
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	again, err := LoadOrCreateKey(dir, RoleHost)
	if err != nil || again.ID != k.ID {
		t.Fatalf("another key at the second call: %v", err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(name, 0o640) },
		"empty":              func() error { return os.WriteFile(name, nil, 0o600) },
		"cut off":            func() error { return os.WriteFile(name, good[:40], 0o600) },
		"a public key":       func() error { return os.WriteFile(name, k.PublicPEM(), 0o600) },
		"two keys":           func() error { return os.WriteFile(name, append(good, good...), 0o600) },
		"a link": func() error {
			return errors.Join(os.Rename(name, name+".moved"), os.Symlink(name+".moved", name))
		},
		"a directory": func() error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o700)) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := errors.Join(os.RemoveAll(name), os.WriteFile(name, good, 0o600), os.Chmod(name, 0o600), damage()); err != nil {
				t.Fatal(err)
			}
			var file *KeyFileError
			if _, err := LoadOrCreateKey(dir, RoleHost); !errors.As(err, &file) || file.Hint == "" {
				t.Fatalf("error %v, want a *KeyFileError with a hint", err)
			}
		})
	}
}

// Somebody with the key who logs the intent after the result gets no certificate out of it.
func TestIntentAfterResultIsWorthless(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	i := testIntent("S", "j")
	i.Attempt, i.Time = 1, is.time()
	err := is.Log.update(func(t *tree) error {
		run, err := is.session(t)
		if err != nil {
			return err
		}
		payload, err := Canonical(Statement[Intent]{StatementType, i.subjects(), IntentType, i})
		if err != nil {
			return err
		}
		e, err := seal(payload, run)
		if err != nil {
			return err
		}
		l, err := leaf{Kind: kindIntent, Drive: i.Device.DriveID(), Job: i.Job}.committed(e)
		if err != nil {
			return err
		}
		at, err := leafHash(l)
		if err != nil {
			return err
		}
		r := testResult("S", "j", Logged{2, at})
		r.Time, r.Signers = is.time(), []string{run.ID}
		if err := is.addResult(t, r); err != nil {
			return err
		}
		_, err = t.add(l, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := is.Reissue("j", i.Device.DriveID()); err == nil {
		t.Fatalf("a certificate was made: %s", data)
	}
}

// Leaves are put together by hand, in the one encoding.
func TestLeafIsCanonical(t *testing.T) {
	for _, l := range []leaf{
		{Kind: kindSession, Session: hash("1"), Envelope: hash("2"), Signature: hash("3")},
		{Kind: kindResult, Drive: hash("1"), Job: "j-1", Envelope: hash("2"), Signature: hash("3")},
		{Kind: kindIntent, Drive: hash("1"), Job: `a "quoted\ job`, Envelope: hash("2"), Signature: hash("3")},
	} {
		if want, err := Canonical(l); err != nil || string(l.encode()) != string(want) {
			t.Errorf("%s, want %s, %v", l.encode(), want, err)
		}
	}
}
