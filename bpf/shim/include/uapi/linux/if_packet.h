/* Included by bcc's helpers.h; no packet is looked at here. */
