"""Names to make products and people of, in several scripts on purpose."""

CATEGORIES = {
    "Kitchen": ["Knives", "Pots", "Fondue"],
    "Outdoors": ["Hiking", "Camping", "Snow"],
    "Workshop": ["Carving", "Tools"],
}
THINGS = [
    "Käsefondue-Gerät", "Älplermesser", "Sackmesser", "Röstipfanne", "Wanderstock", "Schneeschuh", "Kuhglocke",
    "Couteau à fromage", "Lampe frontale", "Gourde isolée", "Réchaud pliant", "Sac à dos",
    "Tazza smaltata", "Scarpone", "Coltello da tasca", "鉄瓶", "登山靴", "包丁", "Термос", "Нож", "Κουτάλι", "بوصلة",
]
QUALITIES = ["gross", "klein", "léger", "rosso", "blau", "n° 1", "Edition 2026", "№ 7", "特大", "100 %"]
TAGS = ["neu", "léger", "bestseller", "handgemacht", "sale", "été", "冬", "gift"]
MATERIALS = ["steel", "walnut", "wool", "copper", "enamel", "larch"]
FIRST_NAMES = [
    "Anna", "Beat", "Chloé", "Dario", "Élodie", "Fatma", "Gian", "Hélène", "Ivo", "Jürg", "Kenji", "Łucja", "Nino",
    "Øyvind", "Zoë",
]
LAST_NAMES = [
    "Aebi", "Bänziger", "Cavelti", "D’Angelo", "Égger", "Favre", "Glauser", "Hösli", "Inderbitzin", "Jäggi", "Müller",
    "Ndiaye", "O'Neil", "Søndergaard", "山田",
]
TOWNS = [
    ("Zürich", "8001"), ("Genève", "1201"), ("Lugano", "6900"), ("Chur", "7000"), ("Delémont", "2800"),
    ("Château-d’Œx", "1660"),
]
OPINIONS = [
    "Hält, was es verspricht.", "Très bien, mais un peu lourd.", "Mai più senza!", "とても良い 👍",
    "Came with a scratch;\nthe seller replaced it at once.", "It's \"fine\".\tReally.", "", "Ein Leben lang\\haltbar 🏔️",
]
