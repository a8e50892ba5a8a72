--- Calibration text: short passages in many languages, written for wane.
return [==[
Le matin, la boulangère ouvre sa porte avant le lever du soleil. Elle pose les pains encore chauds sur l'étagère de bois et note dans un cahier ce que chacun a commandé la veille. Un enfant entre, demande deux croissants, compte ses pièces et s'aperçoit qu'il lui manque dix centimes. « Tu me les donneras demain », dit-elle en souriant. Dans la rue, le facteur pousse son vélo ; il pleut un peu, mais l'air sent déjà le printemps. On parle du marché de samedi, du pont qu'il faudra réparer, et du concert donné à l'école. Qui aurait cru qu'un si petit village avait tant à raconter ?

Pour installer le logiciel, décompressez l'archive puis lancez la commande indiquée dans le fichier LISEZMOI. Si une bibliothèque manque, un message précise laquelle ; il suffit alors de l'ajouter et de recommencer. Les options inconnues sont refusées, jamais ignorées.

Der alte Leuchtturmwärter führte seit vierzig Jahren ein Tagebuch über das Wetter. Jeden Abend schrieb er Windrichtung, Luftdruck und Wellenhöhe auf, dazu einen Satz über das, was ihm aufgefallen war: eine Möwe mit nur einem Bein, ein Schiff ohne Flagge, das merkwürdige Grün am Horizont. Als die Station automatisiert wurde, wollte niemand die Hefte haben. Erst eine junge Forscherin erkannte, dass sich aus den Aufzeichnungen ablesen ließ, wie sich die Strömungen verändert hatten. Seitdem liegen sie, sorgfältig gescannt, in einem Archiv, und wer möchte, kann darin blättern.

Die Verordnung tritt am ersten Tag des folgenden Monats in Kraft. Anträge sind schriftlich zu stellen und müssen begründet werden; über sie ist innerhalb von sechs Wochen zu entscheiden. Gegen den Bescheid kann Widerspruch eingelegt werden.

En la plaza del pueblo hay un reloj que siempre va siete minutos atrasado. Nadie lo corrige, porque todos han aprendido a contar con ello: la misa empieza a las doce y siete, el autobús sale a las cuatro y siete, y los novios quedan a una hora que solo ellos entienden. Cuando llegó un relojero de la capital y lo puso en hora, el pueblo entero llegó tarde a todas partes. A la semana siguiente, el alcalde subió la escalera de la torre y, con mucho cuidado, volvió a atrasarlo.

¿Cuánto cuesta el billete de ida y vuelta? Son dieciocho euros con cincuenta, y los menores de doce años viajan gratis. El tren de las nueve ya está completo, pero quedan plazas en el siguiente.

A minha avó guardava sementes em frascos de vidro, cada um com uma etiqueta escrita à mão: abóbora, feijão, coentro, girassol. Dizia que uma casa sem sementes era como um livro sem palavras. Quando nos mudámos para a cidade, trouxe os frascos na mala e plantou manjericão na varanda. Hoje, sempre que chove depois de muito calor, lembro-me do cheiro daquela terra e do som da sua voz a contar histórias que nunca acabavam no mesmo sítio.

Il treno correva lungo la costa e il mare appariva e spariva tra una galleria e l'altra. Seduto di fronte a me, un signore anziano sbucciava un'arancia con una precisione da orologiaio. «Vede,» mi disse, «la cosa importante è non rompere mai la buccia: chi ci riesce avrà fortuna per un anno.» Poi mi offrì uno spicchio. Non ricordo dove fossi diretto quel giorno, ma ricordo il sapore, la luce bianca sulle onde e il rumore delle ruote sugli scambi.

De fiets stond al drie weken tegen hetzelfde hek, met een lekke band en een bos verlepte bloemen in het mandje. De buurvrouw had er een briefje aan gehangen: „Is deze van jou? Bel even aan.” Niemand belde aan. Op een ochtend was de band geplakt, waren de bloemen vervangen, en hing er een tweede briefje: „Nu wel.”

Gdy spadł pierwszy śnieg, dzieci wybiegły na podwórko, zanim ktokolwiek zdążył znaleźć rękawiczki. Starszy brat uczył młodszą siostrę lepić kule, które nie rozpadają się w locie, a pies skakał dookoła, jakby to wszystko urządzono specjalnie dla niego. Wieczorem w kuchni pachniało cynamonem; babcia opowiadała, że kiedyś zaspy sięgały okien i do szkoły jeździło się saniami.

Na kraji lesa stála chalupa, ve které už dávno nikdo nebydlel. Přesto se z komína občas kouřilo. Děti si vyprávěly, že tam přespává hajný, starší lidé tvrdili, že je to jen mlha, a kočka, která věděla, jak to doopravdy je, nikomu nic neřekla.

Ранним утром на станции было почти пусто. Дежурный пил чай из жестяной кружки и смотрел, как над путями поднимается туман. Поезд опаздывал на двадцать минут, но никого это не удивляло: зимой он опаздывал всегда. На скамейке сидела женщина с большим чемоданом, рядом спал рыжий кот. Когда наконец послышался далёкий гудок, кот открыл один глаз, подумал и снова уснул.

Чтобы решить уравнение, перенесём все слагаемые в левую часть и вынесем общий множитель за скобки. Произведение равно нулю тогда и только тогда, когда равен нулю хотя бы один из множителей.

Коли дощ нарешті скінчився, на подвір'ї утворилося справжнє озеро. Хлопці змайстрували пліт зі старих дощок, а капітаном обрали найменшого, бо він єдиний умів свистіти. Плавання тривало рівно дві хвилини, але згадували про нього все літо.

Το καφενείο άνοιγε στις έξι, πριν ακόμη γυρίσουν οι ψαράδες. Ο κυρ Στέλιος έβαζε το μπρίκι στη φωτιά και άκουγε το ραδιόφωνο χαμηλά, για να μην ξυπνήσει τη γειτονιά. Στους τοίχους κρέμονταν φωτογραφίες από καράβια που δεν υπάρχουν πια· κάτω από καθεμιά, μια ημερομηνία κι ένα όνομα.

Köyün girişindeki çınar ağacı o kadar yaşlıydı ki kimse onun ne zaman dikildiğini bilmiyordu. Yazın gölgesinde satranç oynanır, kışın dallarına kuşlar için yem asılırdı. Bir gün belediyeden iki kişi geldi, ağacı ölçtüler, bir deftere bir şeyler yazdılar ve gittiler. Ertesi hafta ağacın önüne küçük bir tabela kondu: „Lütfen dokununuz.”

Järven rannalla oli sauna, jonka lämmittäminen kesti puoli päivää. Isoisä sanoi, että hyvää ei kannata kiirehtiä, ja pinosi klapeja niin tasaisesti kuin olisi rakentanut taloa. Illalla istuttiin laiturilla jalat vedessä ja kuunneltiin, miten kuikka huusi vastarannalta.

På vintern blev sjön en väg. Lastbilar körde över isen mellan öarna, och postbudet kom på skridskor. Ingen visste riktigt vem som bestämde när isen höll, men en morgon satt det alltid en röd flagga vid bryggan, och då visste alla att det gick.

Cô bé ngồi bên cửa sổ đếm những chiếc thuyền đi ngang qua. Mỗi chiếc thuyền chở một thứ khác nhau: dừa, gạch, hoa cúc vàng cho ngày Tết. Bà ngoại bảo rằng dòng sông nhớ hết mọi thứ nó từng mang đi, chỉ có con người là hay quên.

Setiap pagi pasar itu penuh dengan suara: penjual ikan berteriak, sepeda motor lewat, anak-anak tertawa sambil membawa jajanan. Ibu selalu menawar tiga kali, tidak lebih dan tidak kurang, lalu membeli apa pun harganya karena, katanya, menawar itu soal sopan santun.

朝の電車はいつもより空いていた。窓際に座った少年は、膝の上で小さな模型の飛行機を組み立てている。翼を付けようとするたびに電車が揺れて、部品が床に落ちた。向かいに座っていたおばあさんが黙って拾い、手のひらに載せて差し出した。「次の駅で少し止まるから、その時に付けなさい。」少年はうなずき、駅に着くのを待った。

この関数は配列を受け取り、最大値とその位置を返します。配列が空の場合はエラーになります。計算量は要素数に比例します。

小镇的图书馆只有一间屋子，书却堆到了天花板。管理员是个退休的数学老师，他不用电脑，也不用卡片，任何一本书放在哪里他都记得。有人问他有什么秘诀，他说：“我只是把它们按照我读完时的心情排好了。”春天的书靠近窗户，悲伤的书离火炉最近。

要计算平均速度，请用总路程除以总时间。例如，一辆汽车在两小时内行驶了一百五十公里，它的平均速度就是每小时七十五公里。

老街口嘅茶餐廳每日六點開門，第一個客人永遠係送報紙嘅阿伯。佢叫一杯奶茶、一個菠蘿包，坐低之後先至慢慢睇自己啱啱派完嘅新聞。

할머니의 마당에는 감나무가 한 그루 있었다. 가을이면 우리는 긴 장대로 감을 땄고, 꼭대기에 달린 몇 개는 까치밥으로 남겨 두었다. 도시로 이사한 뒤에도 감을 볼 때마다 나는 그 높은 가지를 올려다보던 오후를 떠올린다. 전화기 너머로 할머니는 늘 같은 말을 하신다. “올해도 많이 열렸다. 와서 가져가라.”

في آخر الشارع دكان صغير لإصلاح الساعات، لا يتسع لأكثر من شخصين. يجلس صاحبه خلف عدسة مكبرة ويعمل في صمت، والساعات من حوله تدق كل واحدة على هواها. سأله طفل ذات يوم: كيف تعرف الوقت الصحيح؟ فابتسم وأشار إلى النافذة حيث كانت الشمس تلامس سطح المدرسة.

בסוף הרחוב גרה אישה שאספה מפתחות. היו לה מאות מהם, תלויים על הקיר בשורות ישרות, ואף אחד מהם לא התאים לדלת שלה. כשנשאלה למה, ענתה שמפתח הוא קודם כול הבטחה.

गाँव के कुएँ पर सुबह-सुबह भीड़ लग जाती थी। औरतें अपनी-अपनी बाल्टियाँ लेकर आतीं और पानी भरते हुए पूरे दिन की योजना बना लेतीं। बच्चे पास के आम के पेड़ पर चढ़ जाते और गिनते कि कितने आम पक चुके हैं। जब बिजली से चलने वाला पंप आया, तब पानी तो घर तक पहुँच गया, पर बातें वहीं रह गईं।

ในตลาดน้ำยามเช้า แม่ค้าพายเรือลำเล็กผ่านไปอย่างช้า ๆ บนเรือมีทั้งขนม ผลไม้ และก๋วยเตี๋ยวร้อน ๆ นักท่องเที่ยวถ่ายรูปไม่หยุด แต่คุณยายริมคลองเพียงยิ้มแล้วส่งชามเปล่าคืนให้ พร้อมบอกว่าอร่อยเหมือนเดิม

Mti wa mbuyu ulisimama katikati ya kijiji tangu zamani za mababu. Watoto walicheza chini yake, wazee walisuluhisha ugomvi, na wafanyabiashara walipumzika njiani. Mvua ya kwanza iliponyesha, kila mtu alitoka nje kushukuru.

Pe dealul din spatele casei creștea un nuc bătrân. Bunicul spunea că l-a plantat în ziua în care s-a întors din armată și că, de atunci, n-a mai plecat nicăieri. Toamna, curtea mirosea a frunze ude și a coji verzi, iar degetele noastre rămâneau negre până la Crăciun.

A hegyi faluban minden ház előtt állt egy pad. Nem azért, mert a gazda szeretett ücsörögni, hanem azért, hogy aki arra jár, megpihenhessen. Azt mondták, annyi pad van, ahány történet, és annyi történet, ahány vándor.
]==]
