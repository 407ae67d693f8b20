/* Included by bcc's helpers.h, which then defines its own bpf_log2(). */
