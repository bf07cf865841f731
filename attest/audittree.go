package attest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// auditLeaf is what the files say of one entry.
type auditLeaf struct {
	leaf
	known  bool // the leaf itself, and it has the hash of the tree
	hash   tlog.Hash
	hashed bool
}

// levels are the hashes of a tree as far as they are known: of the leaves, of pairs of them, …
type levels struct {
	hash [][]tlog.Hash
	have [][]bool
}

func newLevels(leaves []auditLeaf) levels {
	hash, have := make([]tlog.Hash, len(leaves)), make([]bool, len(leaves))
	for i, l := range leaves {
		hash[i], have[i] = l.hash, l.hashed
	}
	n := levels{[][]tlog.Hash{hash}, [][]bool{have}}
	for ; len(hash) > 1; n.hash, n.have = append(n.hash, hash), append(n.have, have) {
		up, upHave := make([]tlog.Hash, len(hash)/2), make([]bool, len(hash)/2)
		for i := range up {
			if upHave[i] = have[2*i] && have[2*i+1]; upHave[i] {
				up[i] = tlog.NodeHash(hash[2*i], hash[2*i+1])
			}
		}
		hash, have = up, upHave
	}
	return n
}

// complete says whether the first leaves are all known.
func (n levels) complete(size int64) bool {
	return size <= int64(len(n.have[0])) && !slices.Contains(n.have[0][:size], false)
}

// root is the hash of the tree of the first leaves, which are complete.
func (n levels) root(size int64) tlog.Hash {
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			level, k := tlog.SplitStoredHashIndex(at)
			list[i] = n.hash[level][k]
		}
		return list, nil
	}))
	if err != nil {
		return tlog.Hash{} // the reader has no errors
	}
	return root
}

// tileAt is a place in the tree: level -1 are the entries themselves.
type tileAt struct {
	level int
	n     int64
}

// inventory lists the tiles that are there, with their widths, ascending.
func inventory(log fs.FS) (map[tileAt][]int, error) {
	list := map[tileAt][]int{}
	err := fs.WalkDir(log, "tile", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // none yet, or one that another process has just replaced by a wider one
		}
		if err != nil || d.IsDir() {
			return err
		}
		rest := strings.TrimPrefix(name, "tile/")
		if entries, ok := strings.CutPrefix(rest, "entries/"); ok {
			rest = "data/" + entries
		}
		t, err := tlog.ParseTilePath("tile/8/" + rest)
		if err != nil {
			return nil // not of the tree: what a cut write left
		}
		if info, err := d.Info(); err != nil || info.Size() == 0 {
			return nil // a cut left the name alone, or another process has just replaced it by a wider one
		}
		at := tileAt{t.L, t.N}
		list[at] = append(list[at], t.W)
		slices.Sort(list[at])
		return nil
	})
	return list, err
}

// readTree reads all tiles, finds out which hashes the leaves have, and says where tiles differ.
func (a *audit) readTree() error {
	tiles, err := inventory(a.in.Log)
	if err != nil {
		return err
	}
	onDisk, most := int64(0), int64(0)
	for at, widths := range tiles {
		if at.level <= 0 {
			onDisk = max(onDisk, at.n<<tileHeight+int64(widths[len(widths)-1]))
			most += 1 << tileHeight
		}
	}
	if !a.signed {
		a.Size = min(onDisk, most)
	}
	if a.checkpoint == nil && onDisk <= 1 {
		a.Size = 0 // a first append that was cut leaves one
	} else if a.checkpoint == nil {
		a.say(found(FoundCheckpointMissing, "there is no checkpoint, and the log has %d entries", onDisk).of("checkpoint"))
	}
	// What is missing takes no memory, whatever the checkpoint or a file's name says.
	size := min(a.Size, min(onDisk, most)+1<<16)
	if size < a.Size {
		a.say(found(FoundLeavesMissing, "%s not there", span(size, a.Size-1)).at(size))
	}
	reader := &treeReader{audit: a, tiles: tiles, size: size, onDisk: max(size, min(onDisk, size+1))}
	if err := reader.read(); err != nil {
		return err
	}
	a.judgeSize(tiles, onDisk)
	return reader.compareTiles()
}

// judgeSize says what entries behind the checkpoint mean: one is an append that was cut, unless
// the tiles of the checkpoint's size were tidied away already.
func (a *audit) judgeSize(tiles map[tileAt][]int, onDisk int64) {
	width := int(a.Size & (1<<tileHeight - 1))
	tidied := false
	for level := -1; level <= 0; level++ {
		widths := tiles[tileAt{level, a.Size >> tileHeight}]
		tidied = tidied || width > 0 && !slices.Contains(widths, width) && len(widths) > 0 && widths[len(widths)-1] > width
	}
	switch {
	case onDisk > a.Size+1 || onDisk > a.Size && tidied:
		a.say(found(FoundRewound, "the checkpoint is of %d entries, and the log has %d: an older one was put in its place", a.Size, onDisk).of("checkpoint"))
	case onDisk > a.Size:
		f := found(FoundLeafUncommitted, "entry %d is behind the checkpoint: its append was cut, or the checkpoint is older by one", a.Size).at(a.Size)
		if len(a.beyond) > 0 && a.beyond[0].known {
			f.Job = a.beyond[0].Job
			if how := a.unfinished(a.beyond[0].leaf); how != "" {
				f.Grade, f.Message = Note, fmt.Sprintf("entry %d is behind the checkpoint: its append was cut, and the job is %s", a.Size, how)
			}
		}
		a.say(f)
	}
}

func (a *audit) unfinished(l leaf) string {
	if a.in.Unfinished == nil {
		return ""
	}
	return a.in.Unfinished(l.Job, l.Drive)
}

// treeReader reads entries and tiles.
type treeReader struct {
	*audit
	tiles        map[tileAt][]int
	size, onDisk int64       // of the tree, and with the entry behind it
	data         [][]byte    // of each entry; nil: not there
	hashes       []tlog.Hash // of the leaves, as the tiles have them
	hashed       []bool
}

// open reads the tile of a place for so many hashes: that of this width, or else a wider one. When
// only a narrower one is there it is read, and missing is the file that should be there.
func (r *treeReader) open(at tileAt, width int) (data []byte, missing string, err error) {
	widths := r.tiles[at]
	use := 0
	for _, w := range widths {
		if use < width {
			use = w
		}
	}
	if use < width {
		missing = tileName(at, width)
	}
	if use == 0 {
		return nil, missing, nil
	}
	data, err = readLimited(r.in.Log, tileName(at, use), MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tileName(at, width), nil
	}
	return data, missing, err
}

func tileName(at tileAt, width int) string {
	if at.level < 0 {
		return bundlePath(at.n, width)
	}
	return tilePath(tlog.Tile{H: tileHeight, L: at.level, N: at.n, W: width})
}

func (r *treeReader) read() error {
	r.data, r.hashes, r.hashed = make([][]byte, r.size), make([]tlog.Hash, r.size), make([]bool, r.size)
	for n := int64(0); n<<tileHeight < r.size; n++ {
		first := n << tileHeight
		wanted := int(min(1<<tileHeight, r.size-first))
		if err := r.readEntries(n, wanted); err != nil {
			return err
		}
		data, _, err := r.open(tileAt{0, n}, wanted)
		if err != nil {
			return err
		}
		for i := 0; i < wanted && len(data) >= (i+1)*tlog.HashSize; i++ {
			r.hashes[first+int64(i)], r.hashed[first+int64(i)] = tlog.Hash(data[i*tlog.HashSize:(i+1)*tlog.HashSize]), true
		}
	}
	r.settle()
	return r.readBeyond()
}

// readEntries reads one file of entries.
func (r *treeReader) readEntries(n int64, wanted int) error {
	at, first := tileAt{-1, n}, n<<tileHeight
	data, missing, err := r.open(at, wanted)
	if err != nil {
		return err
	}
	if missing != "" {
		have := 0
		if widths := r.tiles[at]; len(widths) > 0 {
			have = widths[len(widths)-1]
		}
		r.say(found(FoundLeavesMissing, "%s not there", span(first+int64(have), first+int64(wanted)-1)).at(first + int64(have)).of(missing))
	}
	list, rest := splitEntries(data)
	exact := slices.Contains(r.tiles[at], wanted)
	if missing == "" && (len(list) < wanted || exact && (len(list) > wanted || rest > 0)) {
		from := first + int64(min(len(list), wanted))
		r.say(found(FoundLeavesCut, "the file of entries %d to %d is cut or damaged from entry %d on", first, first+int64(wanted)-1, from).at(from).of(tileName(at, wanted)))
	}
	copy(r.data[first:first+int64(wanted)], list)
	return nil
}

func span(from, to int64) string {
	if from == to {
		return fmt.Sprintf("entry %d is", from)
	}
	return fmt.Sprintf("entries %d to %d are", from, to)
}

// splitEntries takes a file of entries apart, and says how many bytes at its end are of none.
func splitEntries(data []byte) (list [][]byte, rest int) {
	list = make([][]byte, 0, 1<<tileHeight)
	for len(data) >= 2 && len(list) < 1<<tileHeight {
		length := int(binary.BigEndian.Uint16(data))
		if len(data) < 2+length {
			break
		}
		list = append(list, data[2:2+length])
		data = data[2+length:]
	}
	return list, len(data)
}

// readBeyond reads the entry behind the tree, when there is one.
func (r *treeReader) readBeyond() error {
	if r.onDisk == r.size {
		return nil
	}
	width := int(r.size&(1<<tileHeight-1)) + 1
	data, _, err := r.open(tileAt{-1, r.size >> tileHeight}, width)
	if err != nil {
		return err
	}
	l := auditLeaf{}
	if list, _ := splitEntries(data); len(list) >= width {
		l.leaf, l.known = parseLeaf(list[width-1])
	}
	r.beyond = append(r.beyond, l)
	return nil
}

// settle decides which hash each leaf has. Entries and tiles say it twice; where they differ, those
// are right that make the root of the checkpoint.
func (r *treeReader) settle() {
	build := func(tilesFirst bool) []auditLeaf {
		list := make([]auditLeaf, r.size)
		for i := range list {
			entry, tile := r.data[i] != nil, r.hashed[i]
			switch {
			case tile && (tilesFirst || !entry):
				list[i].hash = r.hashes[i]
			case entry:
				list[i].hash = tlog.RecordHash(r.data[i])
			}
			list[i].hashed = entry || tile
		}
		return list
	}
	r.leaves = build(false)
	r.nodes = newLevels(r.leaves)
	fits := func(n levels) bool { return r.signed && n.complete(r.Size) && n.root(r.Size) == r.root }
	if !fits(r.nodes) {
		other := build(true)
		switch n := newLevels(other); {
		case fits(n) || r.Size > 0 && !n.complete(r.Size):
			r.leaves, r.nodes = other, n
		case r.signed && n.complete(r.Size):
			r.say(found(FoundForked, "the %d entries do not make the tree that the checkpoint was signed for: they, or it, are of another log", r.Size).of("checkpoint"))
		}
	}
	for i := range r.leaves {
		l := &r.leaves[i]
		if r.data[i] == nil {
			continue
		}
		if tlog.RecordHash(r.data[i]) != l.hash {
			r.say(found(FoundLeafAltered, "entry %d is not the one that was logged", i).at(int64(i)))
			continue
		}
		if l.leaf, l.known = parseLeaf(r.data[i]); !l.known {
			r.say(found(FoundLeafMalformed, "entry %d is none of this program", i).at(int64(i)))
		}
	}
}

// compareTiles holds every tile of hashes against those made from the leaves.
func (r *treeReader) compareTiles() error {
	for level := 0; r.size>>(tileHeight*level) > 0; level++ {
		have := r.size >> (tileHeight * level)
		for n := int64(0); n<<tileHeight < have; n++ {
			at, width := tileAt{level, n}, int(min(1<<tileHeight, have-n<<tileHeight))
			r.Tiles++
			data, missing, err := r.open(at, width)
			if err != nil {
				return err
			}
			first := n << tileHeight << (tileHeight * level)
			if missing != "" {
				r.say(found(FoundTileMissing, "the tile is not there").at(first).of(missing))
			}
			if missing == "" && len(data) < width*tlog.HashSize {
				r.say(found(FoundTileCut, "the tile has %d bytes, want %d", len(data), width*tlog.HashSize).at(first).of(tileName(at, width)))
			}
			if err := r.compareWidths(at, width); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareWidths compares all files of a tile: narrower ones are what a cut append did not tidy.
func (r *treeReader) compareWidths(at tileAt, width int) error {
	for _, w := range r.tiles[at] {
		name := tileName(at, w)
		data, err := readLimited(r.in.Log, name, MaxSize)
		if errors.Is(err, fs.ErrNotExist) {
			continue // tidied meanwhile
		}
		if err != nil {
			return err
		}
		bad := -1
		for i := 0; i < min(w, width) && len(data) >= (i+1)*tlog.HashSize && bad < 0; i++ {
			k := at.n<<tileHeight + int64(i)
			level := tileHeight * at.level
			if r.nodes.have[level][k] && r.nodes.hash[level][k] != tlog.Hash(data[i*tlog.HashSize:(i+1)*tlog.HashSize]) {
				bad = i
			}
		}
		if bad < 0 && len(data) > w*tlog.HashSize {
			bad = w
		}
		if bad >= 0 {
			index := (at.n<<tileHeight + int64(bad)) << (tileHeight * at.level)
			r.say(found(FoundTileAltered, "hash %d of the tile is not that of the entries", bad).at(index).of(name))
		}
	}
	return nil
}
