package keyring

// PlainKeys are the ring's keys, which nothing outside ever sees.
func (r *Ring) PlainKeys() (plain [][]byte) {
	for _, v := range r.keys.Load().versions {
		plain = append(plain, v.key, v.derive("seal"))
	}
	return plain
}

// Newest is the number of the newest version.
func (r *Ring) Newest() int { return len(r.keys.Load().versions) }

// Forget makes a version useless: nothing that it made opens any more.
func (r *Ring) Forget(number int) {
	next := &keys{versions: append([]*version(nil), r.keys.Load().versions...)}
	lost := &version{number: uint32(number), key: make([]byte, KeyBytes)}
	lost.seal = r.master // any other key
	next.versions[number-1] = lost
	r.keys.Store(next)
}
