/* Included by bcc's proto.h; no packet is looked at here. */
