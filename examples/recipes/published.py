"""Published results on the same test sets: (recurrent, of any kind), in percent; "?" where a source is not at hand."""

PUBLISHED: dict[str, tuple[str, str]] = {
    "sst2": ("", "83.5 from random embeddings (a CNN; Kim, 2014)"),
    "sst2-phrases": ("89.6 with GloVe (SRU; Lei et al., 2018)", "97.5 (T5-11B; Raffel et al., 2020)"),
    "trec6": ("96.4 (ULMFiT; Howard & Ruder, 2018)", "98.1 ?"),
    "imdb": ("95.7 (L-MIXED; Sachan et al., 2019)", "96.5 (RoBERTa-large)"),
    "imdb-unlabelled": ("94.1 (one-hot LSTM; Johnson & Zhang, 2016)", ""),
    "bbc-news": ("", "about 98 ?"),
    "sms-spam": ("98.6 (BiLSTM)", "about 99 ?"),
    "surnames": ("", ""),
    "goemotions": ("41 (BiLSTM; Demszky et al., 2020)", "50"),
    "vader-movie": ("", ""),
    "vader-tweets": ("", "88 (rules of VADER; Hutto & Gilbert, 2014)"),
    "japanese-vowels": ("94 to 97 (BiLSTM) ?", "99.7 (TST; Zerveas et al., 2021)"),
    "basic-motions": ("95.5 (MLSTM-FCN; Karim et al., 2019)", "100"),
    "spoken-digits": ("96 F1 (BiLSTM)", "97 (CNN)"),
    "reuters-8": ("96.3 ? (BiLSTM)", "97.1 ? (TextGCN; Yao et al., 2019)"),
    "20-newsgroups": ("73.2 ? (BiLSTM)", "86.3 ? (TextGCN; Yao et al., 2019)"),
    "coffee": ("", "100"),
    "trace": ("", "100"),
}
