/* Classic BPF: nothing of it is used. */
