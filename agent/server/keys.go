package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

const (
	keySchema   = "expunge/kept-answer/v1"
	keyLifetime = 7 * 24 * time.Hour
	// keyRoom is what must be free before an act is begun, so that its answer can be kept.
	keyRoom = 8 << 20
	// keyWait is how long one request waits for another of the same key.
	keyWait = 30 * time.Second
)

// The most that is kept for one principal. An answer is not forgotten before its time, so that there is room for another: the
// other is refused.
const (
	keptMost  = 20_000
	keptBytes = 256 << 20
)

// keys keep the answers to acts, a file for each principal and Idempotency-Key. A file is made before its act is begun, and made again
// with the answer before that goes out. One without an answer is of an act that was cut off, or whose answer is not kept: asked
// again, it is done again, which the service makes harmless.
type keys struct {
	dir  string
	salt []byte // of the hashes of requests: a body may have a PIN, which could be guessed from a hash without it
	log  hclog.Logger
	free func(dir string) (int64, error)
	most int   // answers of one principal
	size int64 // their bytes

	salting sync.Mutex // guards salted
	salted  bool       // the salt is on disk

	mu      sync.Mutex               // guards the rest
	running map[string]chan struct{} // by file; closed when the act is done
	held    holdings
}

// kept is such a file.
type kept struct {
	Schema    string      `json:"schema"`
	Principal string      `json:"principal,omitempty"` // whose it is
	Request   string      `json:"request"`             // hex HMAC-SHA256 of method, path and body
	Begun     time.Time   `json:"begun"`
	Again     bool        `json:"again,omitempty"` // it was begun before, and what came of that is not known
	Answer    *keptAnswer `json:"answer,omitempty"`
}

type keptAnswer struct {
	Status      int    `json:"status"`
	ContentType string `json:"content_type"`
	Location    string `json:"location,omitempty"`
	Body        []byte `json:"body"`
}

func openKeys(dir string, log hclog.Logger) (*keys, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("idempotency keys: %w", err)
	}
	k := &keys{dir: dir, log: log, free: durable.Free, most: keptMost, size: keptBytes, running: map[string]chan struct{}{}, held: holdings{}}
	var err error
	k.salt, err = os.ReadFile(k.saltFile())
	switch k.salted = err == nil; {
	case errors.Is(err, fs.ErrNotExist):
		k.salt = make([]byte, 32)
		if _, err = rand.Read(k.salt); err != nil {
			break
		}
		if err = k.keepSalt(); noRoom(err) {
			log.Error("no answer can be kept yet", "err", err)
			err = nil // a full disk keeps nobody from asking how the agent is, or from halting
		}
	case err == nil && len(k.salt) != 32:
		err = fmt.Errorf("%s is damaged: it has %d bytes", k.saltFile(), len(k.salt))
	}
	if err != nil {
		return nil, fmt.Errorf("idempotency keys: %w", err)
	}
	k.clean()
	if err := k.recall(); err != nil {
		return nil, fmt.Errorf("idempotency keys: %w", err)
	}
	return k, nil
}

func (k *keys) saltFile() string { return filepath.Join(k.dir, "salt") }

// keepSalt puts a new salt on disk, once. No answer is kept before that: by another salt its request would be another.
func (k *keys) keepSalt() error {
	k.salting.Lock()
	defer k.salting.Unlock()
	if k.salted {
		return nil
	}
	err := durable.CreateFile(k.saltFile(), k.salt, 0o600)
	k.salted = err == nil
	return err
}

// clean removes what is older than is kept, and what was never whole.
func (k *keys) clean() {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		k.log.Warn("kept answers could not be looked through", "err", err)
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < keyLifetime || !strings.HasSuffix(e.Name(), ".json") && !strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		file := filepath.Join(k.dir, e.Name())
		if err := os.Remove(file); err != nil {
			k.log.Warn("an old answer could not be removed", "err", err)
			continue
		}
		k.mu.Lock()
		k.held.drop(file)
		k.mu.Unlock()
	}
}

// recall counts what an earlier server kept.
func (k *keys) recall() error {
	names, err := filepath.Glob(filepath.Join(k.dir, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range names {
		var record kept
		data, err := os.ReadFile(file)
		if err == nil {
			err = strict.Decode(data, &record)
		}
		if err != nil {
			k.log.Warn("a kept answer cannot be read", "file", file, "err", err) // whoever asks for it is told
		}
		k.held.put(file, record.Principal, int64(len(data)), record.Begun)
	}
	return nil
}

// parts are strings as one, so that no two lists are the same.
func parts(list ...string) []byte {
	var all []byte
	for _, s := range list {
		all = append(binary.BigEndian.AppendUint64(all, uint64(len(s))), s...)
	}
	return all
}

func (k *keys) file(principal, key string) string {
	sum := sha256.Sum256(parts(principal, key))
	return filepath.Join(k.dir, hex.EncodeToString(sum[:])+".json")
}

func (k *keys) request(r *http.Request, body []byte) string {
	mac := hmac.New(sha256.New, k.salt)
	mac.Write(parts(r.Method, r.URL.RequestURI(), string(body)))
	return hex.EncodeToString(mac.Sum(nil))
}

// claim waits until no other request of this file is at work.
func (k *keys) claim(ctx context.Context, file string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	for {
		k.mu.Lock()
		other := k.running[file]
		if other == nil {
			mine := make(chan struct{})
			k.running[file] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.running, file)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, api.Refusef("busy", "ask again with the same key", "a request with this Idempotency-Key is under way")
		}
	}
}

// do answers a request: as it was answered before, or by act. One that always is to be done is done also where its answer cannot be kept,
// for want of room or because what is kept under its key is damaged: asked again it is done again.
func (k *keys) do(ctx context.Context, always bool, principal, key, request string, act func() *answer) (*answer, error) {
	file := k.file(principal, key)
	release, err := k.claim(ctx, file)
	if err != nil {
		return nil, err
	}
	defer release()
	record, err := k.load(file)
	if err == nil && record == nil {
		record = &kept{Schema: keySchema, Principal: principal, Request: request, Begun: time.Now().UTC()}
		err = k.begin(file, record)
	} else if err == nil {
		if record.Request != request {
			return nil, api.Refusef("key_reused", "make a new key for each act", "this Idempotency-Key was used for another request")
		}
		if record.Answer != nil {
			return record.answer(), nil
		}
		record.Again = true
	}
	switch {
	case err != nil && always:
		k.log.Warn("an act is done, and its answer is not kept", "who", principal, "err", err)
		return unkept(act()), nil
	case err != nil:
		return nil, err
	}
	a := act()
	if !keepable(a.status) {
		return a, nil
	}
	record.keep(a)
	if err := k.save(file, record); err != nil {
		// The act is done: to answer anything else would be a lie. Asked again it is done again, which is harmless.
		k.log.Error("an answer could not be kept", "err", err)
		return unkept(a), nil
	}
	record.mark(a)
	return a, nil
}

// unkept says of an answer that it is not kept, where the act is done.
func unkept(a *answer) *answer {
	if done(a.status) {
		a.header.Set(keptHeader, "no")
	}
	return a
}

func done(status int) bool { return status < http.StatusMultipleChoices }

// keepable says whether an answer is the act's, and not of a moment.
func keepable(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return false
	}
	return status < http.StatusInternalServerError
}

// load reads what is kept; nil is nothing, or too old.
func (k *keys) load(file string) (*kept, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kept answer: %w", err)
	}
	var record kept
	err = strict.Decode(data, &record)
	if err == nil && (record.Schema != keySchema || record.Request == "" || record.Answer != nil && record.Answer.Status < 200) {
		err = errors.New("it is not of the form " + keySchema)
	}
	if err != nil {
		return nil, fmt.Errorf("kept answer %s is damaged: %w", file, err)
	}
	if time.Since(record.Begun) > keyLifetime {
		return nil, nil
	}
	return &record, nil
}

func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// begin notes that an act is begun. Without that it is not.
func (k *keys) begin(file string, record *kept) error {
	if err := k.within(record.Principal); err != nil {
		return err
	}
	free, err := k.free(k.dir)
	if err == nil && free < keyRoom {
		err = syscall.ENOSPC
	}
	if err == nil {
		err = k.keepSalt()
	}
	if err == nil {
		err = k.save(file, record)
	}
	if noRoom(err) {
		return api.NewProblem(api.ExitInternal, api.CodeNotBegun, "make room there; nothing was done", fmt.Errorf("%s: there is no room to keep an answer: %w", k.dir, err))
	}
	if err != nil {
		err = fmt.Errorf("nothing was done, because its answer could not be kept: %w", err)
		why := api.ProblemOf(err)
		return api.NewProblem(why.ExitStatus, api.CodeNotBegun, why.Hint, err)
	}
	return nil
}

func (k *keys) save(file string, record *kept) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held.put(file, record.Principal, int64(len(data)), record.Begun)
	return nil
}

func (r *kept) keep(a *answer) {
	r.Answer = &keptAnswer{a.status, a.header.Get("Content-Type"), a.header.Get("Location"), a.body.Bytes()}
}

// mark says of an answer that it is kept and is what came of the act. A refusal of one that was begun before is not: it may have been done
// then.
func (r *kept) mark(a *answer) {
	if !r.Again || done(a.status) {
		a.header.Set(keptHeader, "yes")
	}
}

// answer is the answer that was kept.
func (r *kept) answer() *answer {
	a := newAnswer()
	a.header.Set("Content-Type", r.Answer.ContentType)
	if r.Answer.Location != "" {
		a.header.Set("Location", r.Answer.Location)
	}
	a.WriteHeader(r.Answer.Status)
	a.body.Write(r.Answer.Body)
	r.mark(a)
	return a
}
