package attest

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	tnote "github.com/transparency-dev/formats/log"
	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/expunge-dev/expunge/internal/durable"
)

// cosignedDir is beside a log's tree: checkpoints as others cosigned them, by their size.
const cosignedDir = "cosigned"

// The lengths of a cosignature (c2sp.org/tlog-cosignature): key id, time, and what Ed25519 or ML-DSA-44 signs.
var cosignatureLengths = []int{4 + 8 + 64, 4 + 8 + 2420}

// Cosigners are the keys of witnesses whose word somebody takes.
type Cosigners struct{ verifiers []note.Verifier }

// ParseCosigners reads verifier keys (c2sp.org/signed-note), one a line, of Ed25519 cosigners (04h) or ML-DSA-44 (06h). Empty
// lines, and those that begin with "#", are passed over.
func ParseCosigners(data []byte) (Cosigners, error) {
	var c Cosigners
	if len(data) > MaxSize {
		return c, fmt.Errorf("file of %d bytes, at most %d", len(data), MaxSize)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := cosignerKey(line)
		if err != nil {
			return Cosigners{}, fmt.Errorf("cosigner %.40q: %w", line, err)
		}
		if slices.ContainsFunc(c.verifiers, func(have note.Verifier) bool { return have.Name() == v.Name() && have.KeyHash() == v.KeyHash() }) {
			return Cosigners{}, fmt.Errorf("cosigner %q is there twice", v.Name())
		}
		c.verifiers = append(c.verifiers, v)
	}
	if len(c.verifiers) == 0 {
		return c, errors.New("it holds no verifier key")
	}
	return c, nil
}

// Empty says that nobody is known.
func (c Cosigners) Empty() bool { return len(c.verifiers) == 0 }

func cosignerKey(line string) (note.Verifier, error) {
	parts := strings.SplitN(line, "+", 3) // base64 has a + of its own
	if len(parts) != 3 {
		return nil, errors.New("no verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) == 0 {
		return nil, errors.New("no verifier key")
	}
	var v note.Verifier
	switch key[0] {
	case 4:
		v, err = cosign.NewVerifierForCosignatureV1(line)
	case 6:
		v, err = cosign.NewMLDSAVerifier(line)
	default:
		err = fmt.Errorf("algorithm %02xh is none of a cosigner: 04h and 06h are", key[0])
	}
	if err != nil {
		return nil, err
	}
	if fmt.Sprintf("%08x", v.KeyHash()) != parts[1] {
		return nil, errors.New("its id is not that of its name and key")
	}
	return v, nil
}

// valid says whose of the cosignatures are these cosigners', each once, and how many nobody checked. A line of a known key
// that does not fit is an error.
func (c Cosigners) valid(cp checkpoint) (names []string, unchecked int, err error) {
	for _, s := range cp.others {
		at := slices.IndexFunc(c.verifiers, func(v note.Verifier) bool { return v.Name() == s.Name && v.KeyHash() == s.Hash })
		if at < 0 {
			unchecked++
			continue
		}
		data, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(data) < 4 || !c.verifiers[at].Verify([]byte(cp.text), data[4:]) {
			return nil, 0, fmt.Errorf("the cosignature of %q does not fit", s.Name)
		}
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names, unchecked, nil
}

// Cosigned is what came of adding a cosigned checkpoint.
type Cosigned struct {
	Size    int64
	Added   int      // cosignatures that were not there yet
	Checked []string // cosigners whose key was given: their lines fit
	Lines   int      // cosignatures of this size now
}

// AddCosigned keeps the cosignatures of a checkpoint of this log. Its text must be what the log was at its size, by the tree.
// The lines of cosigners whose keys are given must fit; others are kept as they are. The error is a *RecordError when it is
// refused.
func (is Issuer) AddCosigned(data []byte, known Cosigners) (Cosigned, error) {
	var c Cosigned
	err := is.Log.update(func(t *tree) (err error) {
		c, err = is.addCosigned(t, data, known)
		return err
	})
	if err != nil {
		return Cosigned{}, fmt.Errorf("add cosigned checkpoint: %w", err)
	}
	return c, nil
}

func refuseCosigned(format string, args ...any) error {
	return &RecordError{"cosigned_refused", fmt.Sprintf(format, args...), "have the checkpoint of this very log cosigned: expunge log checkpoint prints it"}
}

func (is Issuer) addCosigned(t *tree, data []byte, known Cosigners) (Cosigned, error) {
	text, lines, err := splitCheckpoint(data)
	if err != nil {
		return Cosigned{}, refuseCosigned("it is no cosigned checkpoint: %v", err)
	}
	log := is.Log.key
	var cp tnote.Checkpoint
	rest, err := cp.Unmarshal([]byte(text))
	if err != nil || len(rest) > 0 || string(cp.Marshal()) != text || len(cp.Hash) != tlog.HashSize {
		return Cosigned{}, refuseCosigned("its text is no checkpoint in its one form")
	}
	size := int64(cp.Size)
	if cp.Origin != log.Origin {
		return Cosigned{}, refuseCosigned("it is of another log, %.40q", cp.Origin)
	}
	if cp.Size == 0 || cp.Size > uint64(t.size) {
		return Cosigned{}, refuseCosigned("it is of %d entries, and the log has %d", cp.Size, t.size)
	}
	root, err := tlog.TreeHash(size, t)
	if err != nil {
		return Cosigned{}, err
	}
	if root != tlog.Hash(cp.Hash) {
		return Cosigned{}, refuseCosigned("its root is not that of the first %d entries: what was cosigned is another history", size)
	}
	have, err := is.Log.cosigned(size)
	if err != nil {
		return Cosigned{}, err
	}
	c := Cosigned{Size: size}
	for _, line := range lines {
		if strings.HasPrefix(line, "— "+log.Origin+" ") {
			continue // the log's own: they are made anew
		}
		if !slices.Contains(have, line) {
			have, c.Added = append(have, line), c.Added+1
		}
	}
	if c.Lines = len(have); c.Lines == 0 {
		return Cosigned{}, refuseCosigned("nobody but the log has signed it")
	}
	if c.Lines > maxCosignatures {
		return Cosigned{}, refuseCosigned("%d cosignatures of one size: at most %d are kept", c.Lines, maxCosignatures)
	}
	signed, err := signCheckpoint(size, root, log, is.Log.now())
	if err != nil {
		return Cosigned{}, err
	}
	whole := string(signed) + strings.Join(have, "")
	opened, err := openCheckpoint([]byte(whole), log.LogPublic)
	if err != nil {
		return Cosigned{}, refuseCosigned("a cosignature is not in its form: %v", err)
	}
	if c.Checked, _, err = known.valid(opened); err != nil {
		return Cosigned{}, refuseCosigned("%v", err)
	}
	dir := filepath.Join(is.Log.dir, cosignedDir)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return Cosigned{}, err
	}
	return c, durable.WriteFile(filepath.Join(dir, strconv.FormatInt(size, 10)), []byte(whole), 0o644)
}

// splitCheckpoint takes a note apart into its text and its lines of signatures, each with its end.
func splitCheckpoint(data []byte) (text string, lines []string, err error) {
	if len(data) > 1<<17 {
		return "", nil, fmt.Errorf("%d bytes", len(data))
	}
	text, rest, found := strings.Cut(string(data), "\n\n")
	if !found || !strings.HasSuffix(rest, "\n") {
		return "", nil, errors.New("text and signatures are not parted by an empty line, or it is cut")
	}
	for line := range strings.Lines(rest) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(fields) != 3 || fields[0] != "—" || fields[1] == "" || strings.Contains(fields[1], "+") {
			return "", nil, errors.New("a line is no signature")
		}
		sig, err := decodeBase64(fields[2])
		if err != nil {
			return "", nil, fmt.Errorf("signature of %q: %w", fields[1], err)
		}
		ours := strings.HasPrefix(text, fields[1]+"\n")
		if !ours && (!slices.Contains(cosignatureLengths, len(sig)) || binary.BigEndian.Uint64(sig[4:]) == 0) {
			return "", nil, fmt.Errorf("the signature of %q is no cosignature by Ed25519 or ML-DSA-44", fields[1])
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 || len(lines) > 2+maxCosignatures {
		return "", nil, fmt.Errorf("%d signatures", len(lines))
	}
	return text + "\n", lines, nil
}

// cosigned are the lines of others that are kept for a size.
func (l *Log) cosigned(size int64) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, cosignedDir, strconv.FormatInt(size, 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cosigned checkpoint: %w", err)
	}
	cp, err := openCheckpoint(data, l.key.LogPublic)
	if err == nil && cp.size != size {
		err = fmt.Errorf("it is of %d entries", cp.size)
	}
	if err != nil {
		return nil, &LogError{l.dir, fmt.Sprintf("%s/%d is damaged: %v", cosignedDir, size, err)}
	}
	var lines []string
	for _, s := range cp.others {
		lines = append(lines, fmt.Sprintf("— %s %s\n", s.Name, s.Base64))
	}
	return lines, nil
}

// Checkpoint is the log's head, for others to cosign; nil of an empty log.
func (l *Log) Checkpoint() (data []byte, err error) {
	err = l.update(func(t *tree) error {
		data = t.checkpoint
		return nil
	})
	return data, err
}

// cosignedHead is the newest checkpoint that others cosigned, if all that the log has of a job's drive lies under it; else the
// log's head.
func (is Issuer) cosignedHead(t *tree, job, drive string) (head, error) {
	files, err := os.ReadDir(filepath.Join(is.Log.dir, cosignedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return head{}, fmt.Errorf("read cosigned checkpoints: %w", err)
	}
	newest := int64(0)
	for _, f := range files {
		if size, err := strconv.ParseInt(f.Name(), 10, 64); err == nil {
			newest = max(newest, size)
		}
	}
	if newest == 0 {
		return t.head(), nil
	}
	_, last, err := t.find(job, func(l leaf) bool { return l.Job == job && l.Drive == drive })
	if err != nil || last >= newest {
		return t.head(), err
	}
	data, err := os.ReadFile(filepath.Join(is.Log.dir, cosignedDir, strconv.FormatInt(newest, 10)))
	if err != nil {
		return head{}, fmt.Errorf("read cosigned checkpoint: %w", err)
	}
	cp, err := openCheckpoint(data, is.Log.key.LogPublic)
	if err != nil {
		return head{}, &LogError{is.Log.dir, fmt.Sprintf("%s/%d is damaged: %v", cosignedDir, newest, err)}
	}
	if cp.size > t.size {
		return head{}, &LogError{is.Log.dir, fmt.Sprintf("%d entries were cosigned, and it has %d: it was cut", cp.size, t.size)}
	}
	root, err := tlog.TreeHash(cp.size, t)
	if err == nil && (root != cp.root || cp.size != newest) {
		err = &LogError{is.Log.dir, fmt.Sprintf("its first %d entries are not those that were cosigned: it was changed", newest)}
	}
	return head{cp.size, string(data)}, err
}
