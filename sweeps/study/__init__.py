"""Which metric predicts what a network sees in a coded picture: the protocol of QoMEX 2023 (seed 000) as a study."""
