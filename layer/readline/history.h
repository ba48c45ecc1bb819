/* In place of GNU readline: there is no history. */
